"""A job with more states than its budget: real control, worker, storage and API."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from shared.errors import StorageUnavailable
from shared.settings import Settings
from shared.storage.local import LocalStore
from tests.support.bench import Bench
from tests.support.matching_rows import assert_rows_match_files
from web.backup.making import read_wanted
from web.control.states import GRACE
from web.db.models import JobCheckpoint
from web.jobs.queries import get_job
from web.jobs.thinning import thin_states
from web.protection import HOLD, hold_files
from worker.checkpoint import pack_checkpoint
from worker.engine.state import EngineState

MANY = {"steps": 40, "checkpoint_every": 2}
#: As many as the budget has room for.
MOST = 5
GRACE_HOURS = GRACE.total_seconds() / 3600
STATE_BYTES = len(pack_checkpoint(EngineState(40, {"value": np.zeros(64, np.float32)}), fingerprint="0" * 64))


@pytest.fixture
def bench(settings: Settings, client) -> Iterator[Bench]:
    """A control that has room for a few states of a job."""
    bench = Bench(settings.model_copy(update={"checkpoint_bytes": MOST * STATE_BYTES + 99}), client)
    yield bench
    bench.close()


@pytest.fixture
def job(submit, bench: Bench) -> dict:
    """A job that has made all of its steps."""
    job = submit(options=MANY)
    bench.work(job["id"])
    return bench.job(job["id"])


def listed(bench: Bench, job: dict) -> list[dict]:
    return bench.client.get(job["urls"]["checkpoints"]).json["checkpoints"]


def kept(bench: Bench, job: dict) -> list[int]:
    """The steps that are told to have a state."""
    return [one["step"] for one in listed(bench, job) if one["has_state"]]


def states(bench: Bench, job: dict) -> list[int]:
    """The steps whose states lie there."""
    names = [Path(key).name for key in bench.files(job["id"]) if key.endswith(".safetensors")]
    return sorted(int(name.removesuffix(".safetensors").rpartition("-")[2]) for name in names)


def remove_due(bench: Bench) -> int:
    return bench.control.projector.given_up.remove_due()


def storage_of(settings: Settings) -> Path:
    return settings.data_dir / "storage"


def test_only_some_states_stay_the_last_two_among_them_and_all_pictures(bench, job, settings):
    steps = list(range(2, 41, 2))
    assert [one["step"] for one in listed(bench, job)] == steps
    assert len(kept(bench, job)) == MOST
    assert kept(bench, job)[-2:] == [38, 40]
    assert max(np.diff([0, *kept(bench, job)])) <= 20, "they are spread over all steps"
    assert states(bench, job) == steps, "nothing is removed at once"
    assert remove_due(bench) == 0
    bench.hours += GRACE_HOURS
    assert remove_due(bench) == len(steps) - MOST
    assert states(bench, job) == kept(bench, job)
    assert remove_due(bench) == 0
    assert_rows_match_files(bench.control.backend.database, storage_of(settings))
    for one in listed(bench, job):
        with bench.client.get(one["url"]) as answer:
            assert (answer.status_code, answer.content_type) == (200, one["content_type"])


def test_it_is_thinned_while_it_runs(bench, submit):
    seen: list[list[dict]] = []
    job = submit(options=MANY)
    bench.work_until(job["id"], 32, lambda: seen.append(listed(bench, job)))
    (during,) = seen
    assert len(during) > MOST
    assert sum(one["has_state"] for one in during) == MOST
    assert during[-1]["has_state"]
    assert during[-2]["has_state"]


def test_a_fork_begins_only_where_a_state_is_kept(bench, job, problem_of):
    given_up = next(one["step"] for one in listed(bench, job) if not one["has_state"])
    names = ", ".join(map(str, kept(bench, job)))
    for hours in (0, GRACE_HOURS):
        bench.hours += hours
        remove_due(bench)
        problem = problem_of(
            bench.client.post(job["urls"]["fork"], json={"step": given_up}), 409, "not_ready"
        )
        assert problem["errors"][0]["pointer"] == "/step"
        assert problem["detail"] == (
            f"of the checkpoint of step {given_up} only the picture is kept; kept are those of step {names}"
        )
    for step in kept(bench, job)[:-1]:
        fork = bench.post(job["id"], "fork", {"step": step})
        assert bench.work(fork["id"]).resumed_from == step
        assert bench.job(fork["id"])["status"] == "succeeded"
        assert bench.output(fork["id"]) == bench.output(job["id"])


def test_the_page_offers_only_what_can_be_forked(bench, job, see):
    whole = {one["step"]: one["has_state"] for one in listed(bench, job)}
    assert see(job["id"]).fields("fork")["step"] == "40"
    for step, has_state in whole.items():
        html = bench.client.get(f"/jobs/{job['id']}?step={step}").text
        link = re.search(r"<a [^>]*data-fork-here[^>]*>", html)[0]
        assert link.endswith("hidden>") is not has_state
        options = re.search(r'id="fork-step".*?</select>', html, re.DOTALL)[0]
        assert [int(value) for value in re.findall(r'value="(\d+)"', options)] == kept(bench, job)
        chosen = int(see(job["id"], f"?step={step}").fields("fork")["step"])
        assert abs(chosen - step) == min(abs(one - step) for one in kept(bench, job))


def test_a_fork_that_has_found_its_state_can_copy_it(bench, job, monkeypatch):
    """It looks at the row, then the row gives up its state, then the file is copied."""
    step, copy = kept(bench, job)[0], LocalStore.copy

    def late_copy(self: LocalStore, source: str, target: str) -> None:
        with bench.control.backend.database.write() as session:
            row = get_job(session, job["id"])
            keys = thin_states(session, row, state_bytes=STATE_BYTES, budget_bytes=0)
        bench.control.projector.given_up.add(job["id"], keys)
        bench.control.round()
        copy(self, source, target)

    monkeypatch.setattr(LocalStore, "copy", late_copy)
    fork = bench.post(job["id"], "fork", {"step": step})
    assert kept(bench, job) == [38, 40]
    bench.hours += GRACE_HOURS
    bench.control.round()
    assert states(bench, job) == [38, 40]
    assert bench.work(fork["id"]).resumed_from == step


def test_what_an_extended_job_begins_with_stays(bench, job, settings):
    bench.post(job["id"], "extend", {"steps": 40})
    bench.work(job["id"])
    assert len(kept(bench, job)) == MOST
    assert 40 in kept(bench, job)
    bench.hours += GRACE_HOURS
    while remove_due(bench):
        pass  # a round removes some
    assert states(bench, job) == kept(bench, job)
    assert_rows_match_files(bench.control.backend.database, storage_of(settings))


def test_a_damaged_last_one_is_passed_over_for_the_one_before(bench, submit):
    job = submit(options=MANY)

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.work_until(job["id"], 32, die)
    bench.control.projector.drain()
    bench.hours += GRACE_HOURS
    remove_due(bench)
    (last,) = [key for key in bench.files(job["id"]) if key.endswith("00030.safetensors")]
    bench.context.store.write(last, b"damaged")
    assert bench.work(job["id"]).resumed_from == 28
    assert bench.job(job["id"])["status"] == "succeeded"


def test_nothing_is_removed_while_a_backup_holds_the_files(bench, job):
    before = states(bench, job)
    bench.hours += GRACE_HOURS
    with bench.control.backend.database.write() as session:
        hold_files(session, now=bench.now())
    assert (remove_due(bench), states(bench, job)) == (0, before)
    bench.hours += HOLD.total_seconds() / 3600
    assert remove_due(bench) == len(before) - MOST


def test_a_backup_wants_no_state_that_is_given_up(bench, job, settings, tmp_path):
    copied = tmp_path / "copy.db"
    with (
        closing(sqlite3.connect(settings.data_dir / "atelier.db")) as database,
        closing(sqlite3.connect(copied)) as copy,
    ):
        database.backup(copy)
    wanted = read_wanted(copied).files
    assert "" not in wanted
    steps = [int(key[-17:-12]) for key in sorted(wanted) if key.endswith(".safetensors")]
    assert steps == kept(bench, job)
    assert sum(key.endswith(".jpg") for key in wanted) == len(listed(bench, job))


def test_nothing_is_removed_from_anothers_storage(bench, job, settings):
    before = states(bench, job)
    bench.hours += GRACE_HOURS
    root = storage_of(settings)
    identity = root / "installation.json"
    aside = identity.rename(root.parent / "aside")
    assert (remove_due(bench), states(bench, job)) == (0, before)
    aside.rename(identity)
    assert remove_due(bench) == len(before) - MOST


def test_a_storage_that_fails_is_asked_again(bench, job, monkeypatch):
    bench.hours += GRACE_HOURS
    delete, keys = LocalStore.delete, []

    def failing(self: LocalStore, key: str) -> None:
        keys.append(key)
        if len(keys) == 3:
            raise StorageUnavailable("the disk is gone")
        delete(self, key)

    monkeypatch.setattr(LocalStore, "delete", failing)
    with pytest.raises(StorageUnavailable):
        remove_due(bench)
    assert remove_due(bench) == 20 - MOST - 2
    assert keys[2] == keys[3], "the one that failed comes first"
    assert states(bench, job) == kept(bench, job)


def test_a_state_that_is_named_again_stays(bench, job):
    """As one that an attempt which was begun again has made once more."""
    with bench.control.backend.database.write() as session:
        row = session.scalars(select(JobCheckpoint).where(JobCheckpoint.key == "")).first()
        step, row.key = row.step, f"jobs/{job['id']}/attempt-1/checkpoint-{row.step:05d}.safetensors"
    bench.hours += GRACE_HOURS
    remove_due(bench)
    assert step in kept(bench, job)
    assert states(bench, job) == kept(bench, job)


def test_what_a_control_that_ended_has_left_is_a_dead_file(bench, job):
    bench.hours += 25
    plan = bench.control.pruner.plan()
    assert len([one for one in plan if one.name.endswith(".safetensors")]) == 20 - MOST
    assert bench.control.pruner.remove(plan).failed == []
    assert states(bench, job) == kept(bench, job)


def test_a_worker_that_does_not_tell_how_large_its_states_are_keeps_them_all(bench, submit, workshop):
    job = submit(options={"steps": 40, "checkpoint_every": 2})
    workshop.claim(job["id"])
    for step in range(2, 21, 2):
        workshop.checkpoint(job["id"], step, after=step - 2)
    assert len(kept(bench, job)) == 10

"""A backup of the database is put back: what lies in the storage is of a time that did not happen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from shared.options import StyleOptions
from shared.protocol import EventType, read_marker
from shared.settings import Settings
from shared.storage.layout import checkpoint_key, marker_key, preview_key
from tests.support.bench import Bench, report
from tests.support.engines import WeighingEngine
from tests.support.matching_rows import assert_rows_match_files
from worker.engine.state import MadeBy

FEW = {"steps": 4, "checkpoint_every": 1, "style_weight": 0.5}


@contextmanager
def forgotten(settings: Settings, bench: Bench) -> Iterator[None]:
    """Put the database back, after the block, as it was before it; Redis is new then."""
    path = settings.data_dir / "atelier.db"
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(":memory:")) as backup:
        live.backup(backup)
        yield
        backup.backup(live)
    bench.context.redis.client.flushall()


@pytest.fixture
def make(submit, bench: Bench) -> Callable[[], str]:
    def do() -> str:
        job_id = submit(options=FEW)["id"]
        bench.work(job_id)
        return job_id

    return do


def extend(bench: Bench, job_id: str, steps: int) -> None:
    bench.post(job_id, "extend", {"steps": steps})
    bench.work(job_id)


def check(settings: Settings, bench: Bench, job_id: str, expected: bytes) -> None:
    job = bench.job(job_id)
    assert (job["status"], job["progress"]["step"], job["progress"]["steps"]) == ("succeeded", 11, 11)
    assert bench.output(job_id) == expected
    assert_rows_match_files(bench.control.backend.database, settings.data_dir / "storage")
    marker = read_marker(bench.context.store.read(marker_key(job_id, bench.row(job_id).attempt)))
    assert (marker.steps, len(marker.fingerprint or ""), len(marker.task_sha256 or "")) == (11, 64, 64)


@pytest.fixture
def expected(make, bench: Bench) -> bytes:
    """The result of a job that was extended by 7, and nothing else."""
    job_id = make()
    extend(bench, job_id, 7)
    return bench.output(job_id)


def test_the_result_of_another_extension_is_not_taken(make, bench: Bench, settings, expected):
    job_id = make()
    with forgotten(settings, bench):
        extend(bench, job_id, 2)
        other = bench.output(job_id)
    extend(bench, job_id, 7)
    check(settings, bench, job_id, expected)
    assert other != expected
    # Set aside, not removed: whoever wonders may look at it.
    files = [file.key for file in bench.context.store.inventory(f"jobs/{job_id}")]
    aside = [key for key in files if ".set-aside-" in key]
    assert {key.partition(".set-aside-")[0] for key in aside} == {
        marker_key(job_id, 2), checkpoint_key(job_id, 2, 5), checkpoint_key(job_id, 2, 6),
    }  # fmt: skip


def test_neither_by_the_rescuer(make, bench: Bench, settings, expected):
    job_id = make()
    with forgotten(settings, bench):
        extend(bench, job_id, 2)
    bench.post(job_id, "extend", {"steps": 7})
    report(bench.context, bench.row(job_id), EventType.CLAIMED)
    bench.control.projector.drain()
    assert bench.control.rescuer.rescue(bench.control.projector) == 1
    assert (bench.job(job_id)["status"], bench.row(job_id).attempt) == ("queued", 3)
    bench.work(job_id)
    check(settings, bench, job_id, expected)


def test_a_marker_of_the_first_release_tells_its_step(make, bench: Bench, settings, expected):
    job_id = make()
    with forgotten(settings, bench):
        extend(bench, job_id, 2)
    key = marker_key(job_id, 2)
    marker = read_marker(bench.context.store.read(key))
    old = marker.model_dump_json(exclude={"fingerprint", "task_sha256", "steps"}).encode()
    bench.context.store.write(key, old)
    extend(bench, job_id, 7)
    check(settings, bench, job_id, expected)


def test_a_retry_from_zero_in_another_time(submit, bench: Bench, settings, expected):
    """As many steps, and another beginning: a fork's instead of the pictures'."""
    parent = submit(options=FEW)["id"]
    bench.work(parent)
    job_id = submit(options={**FEW, "style_weight": 0.9, "steps": 11})["id"]
    bench.work_until(job_id, 3, lambda: bench.post(job_id, "cancel"))
    with forgotten(settings, bench):
        bench.post(job_id, "retry", {"from": "zero"})
        bench.work(job_id)
        right = bench.output(job_id)
    # The same task, begun again: what lies there is of it, whichever time it comes from.
    bench.post(job_id, "retry", {"from": "zero"})
    engine = bench.work(job_id)
    assert (engine.steps_made, bench.job(job_id)["status"]) == (0, "succeeded")
    assert bench.output(job_id) == right


def test_the_result_of_other_weights_is_not_taken(submit, bench: Bench, settings):
    job_id = submit(options=FEW)["id"]
    with forgotten(settings, bench):
        bench.work(job_id)

    class Younger(WeighingEngine):
        """A later engine, which ends in other bytes."""

        def made_by(self, options: StyleOptions) -> MadeBy:
            return replace(super().made_by(options), engine_version="test-2")

        def factor(self, options: object) -> float:
            return 3.61

    engine = bench.work(job_id, Younger())
    assert (engine.steps_made, bench.job(job_id)["status"]) == (4, "succeeded")
    assert_rows_match_files(bench.control.backend.database, settings.data_dir / "storage")


def test_a_result_whose_picture_is_gone_is_made_again(submit, bench: Bench, settings):
    job_id = submit(options=FEW)["id"]
    with forgotten(settings, bench):
        bench.work(job_id)
        output = bench.output(job_id)
        bench.context.store.delete(bench.row(job_id).outputs[0]["key"])
    assert bench.work(job_id).resumed_from == 4
    assert bench.output(job_id) == output
    assert_rows_match_files(bench.control.backend.database, settings.data_dir / "storage")


def test_a_preview_of_another_time_goes_when_the_attempt_begins(make, client, bench: Bench, settings):
    job_id = make()
    with forgotten(settings, bench):
        extend(bench, job_id, 2)
    bench.post(job_id, "extend", {"steps": 7})
    seen = []
    other = bench.context.store.read(preview_key(job_id, 2))

    def look() -> None:
        with client.get(f"/api/v1/jobs/{job_id}/preview") as response:
            seen.append(response.data)

    bench.work_until(job_id, 5, look)
    assert seen
    assert other not in seen


def test_what_was_set_aside_is_collected_when_it_is_old(make, bench: Bench, settings):
    job_id = make()
    with forgotten(settings, bench):
        extend(bench, job_id, 2)
    extend(bench, job_id, 7)
    bench.hours = 25
    bench.control.pruner.step()
    bench.control.pruner.step()
    files = [file.key for file in bench.context.store.inventory(f"jobs/{job_id}")]
    assert [key for key in files if ".set-aside-" in key] == []
    assert_rows_match_files(bench.control.backend.database, settings.data_dir / "storage")

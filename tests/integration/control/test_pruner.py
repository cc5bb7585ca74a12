"""Retention and garbage collection against a real database and store; races between transactions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared.clock import utc_now
from shared.errors import StorageUnavailable
from shared.options import StyleOptions
from shared.protocol import new_id
from shared.storage import layout
from tests.support.bench import read, rounds, work
from tests.support.clock import Clock
from tests.support.engines import DivergingEngine, SteadyEngine
from tests.support.rows import add_picture as add_asset_row
from web.assets.stars import star_asset
from web.control.garbage import Kind
from web.control.process import Control
from web.control.pruner import Pruner
from web.db.models import Asset, IdempotencyKey, InboxEntry, Job, JobCheckpoint, JobEvent
from web.jobs.actions import write_extend, write_retry
from web.jobs.queries import add_job, get_job
from web.jobs.transitions import list_checkpoints
from worker.context import WorkerContext

DAY_SECONDS = 86_400


@pytest.fixture
def pruner(control: Control, context: WorkerContext) -> Pruner:
    """Keeps finished jobs for 30 days, and orphans for one."""
    settings = control.backend.settings.model_copy(update={"retention_days": 30, "garbage_hours": 24})
    return Pruner(replace(control.backend, storage=context.store, settings=settings), clock=control.clock)


def names(findings: list) -> set[tuple[Kind, str]]:
    return {finding.identity for finding in findings}


def write_old(context: WorkerContext, clock: Clock, key: str, data: bytes = b"x") -> None:
    context.store.write(key, data)
    moment = clock.start.timestamp() - 2 * DAY_SECONDS
    os.utime(context.store.root / key, (moment, moment))


def files_of(context: WorkerContext) -> set[str]:
    return {file.key for root in ("assets", "check", "jobs") for file in context.store.inventory(root)}


def add_picture(control: Control, sha256: str, *, caller: str = "local", now: object = None) -> str:
    with control.backend.database.write() as session:
        asset = add_asset_row(session, now=now or control.clock(), sha256=sha256, caller=caller)
        return asset.id


def finish(control: Control, context: WorkerContext, job: Job) -> Job:
    work(context, job)
    control.round()
    return read(control, job)


def test_a_job_past_its_retention_goes_with_history_and_files(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    finish(control, context, job)
    clock.seconds += 29 * DAY_SECONDS
    assert Kind.EXPIRED_JOB not in {finding.kind for finding in pruner.plan()}
    clock.seconds += 2 * DAY_SECONDS
    plan = pruner.plan()
    assert (Kind.EXPIRED_JOB, job.id) in names(plan)
    pruner.remove(plan)
    assert list(context.store.list(f"jobs/{job.id}")) == []
    with control.backend.database.read() as session:
        for table in (Job, JobEvent, JobCheckpoint):
            assert session.query(table).count() == 0
    # What it used goes next, and then nothing is left.
    pruner.remove(pruner.plan())
    assert files_of(context) == set()
    with control.backend.database.read() as session:
        assert session.query(Asset).count() == 0


def test_jobs_are_kept_for_ever_by_default(control: Control, context: WorkerContext, clock: Clock, job: Job):
    finish(control, context, job)
    before = files_of(context)
    clock.seconds += 1000 * DAY_SECONDS
    for _ in range(3):
        rounds(control, clock)
    assert read(control, job).status == "succeeded"
    assert files_of(context) == before


def test_control_removes_in_one_round_what_it_found_in_the_one_before(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    orphan = f"jobs/{new_id()}/attempt-1/preview.jpg"
    write_old(context, clock, orphan)
    clock.seconds += 61
    control.round()
    assert orphan in files_of(context)
    clock.seconds += 61
    control.round()
    assert orphan not in files_of(context)
    assert read(control, job).status == "queued"


def test_a_clock_that_jumps_for_a_moment_removes_nothing(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    context.store.write(layout.asset_key("c" * 64), b"c")
    clock.seconds += 100 * DAY_SECONDS
    pruner.step()
    clock.seconds -= 100 * DAY_SECONDS
    assert pruner.step().removed == []
    assert layout.asset_key("c" * 64) in files_of(context)


def test_a_leader_stays_as_long_as_somebody_waits_for_it(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    done = finish(control, context, job)
    clock.seconds += 31 * DAY_SECONDS
    plan = pruner.plan()
    with control.backend.database.write() as session:
        leader = get_job(session, job.id)
        follower = add_job(
            session, caller="local", name="again", content=leader.content, style=leader.style,
            options=StyleOptions.model_validate(leader.options), labels={}, max_attempts=3,
            now=control.clock(), extra={"leader_id": leader.id},
        )  # fmt: skip
    pruner.remove(plan)
    assert read(control, job).version == done.version
    control.round()
    given = read(control, follower)
    assert given.status == "succeeded"
    pruner.remove(pruner.plan())
    assert context.store.read(given.outputs[0]["key"])


def test_a_job_that_is_retried_between_look_and_removal_stays(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    work(context, job, DivergingEngine())
    control.round()
    clock.seconds += 31 * DAY_SECONDS
    plan = pruner.plan()
    with control.backend.database.write() as session:
        write_retry(session, get_job(session, job.id), now=control.clock())
    pruner.remove(plan)
    work(context, read(control, job))
    control.round()
    assert read(control, job).status == "succeeded"


@pytest.fixture
def twice(control: Control, context: WorkerContext, clock: Clock, job: Job) -> Job:
    """A job that ended in its second attempt, with a superseded checkpoint and a late result of its first."""
    rounds(control, clock)

    def vanish(number: int) -> None:
        if number == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(context, job, SteadyEngine(vanish))
    rounds(control, clock)
    second = read(control, job)
    context.store.delete(layout.checkpoint_key(job.id, 1, 10))  # so that the second attempt makes it anew
    work(context, second)
    control.round()
    for key in (layout.checkpoint_key(job.id, 1, 10), layout.marker_key(job.id, 1)):
        context.store.write(key, b"of a zombie")
    return read(control, job)


def test_dead_attempts_lose_what_nothing_refers_to(
    control: Control, context: WorkerContext, clock: Clock, twice: Job, pruner: Pruner
):
    assert pruner.plan() == []  # it is too young
    clock.seconds += 2 * DAY_SECONDS
    plan = pruner.plan()
    files = context.store.list(layout.attempt_folder(twice.id, 1))
    (picture,) = (key for key in files if "checkpoint-00010-" in key)
    assert {finding.name for finding in plan} == {
        layout.checkpoint_key(twice.id, 1, 10),
        picture,
        layout.preview_key(twice.id, 1),
        layout.marker_key(twice.id, 1),
    }
    assert {finding.identity for finding in pruner.remove(plan).removed} == names(plan)
    assert pruner.plan() == []
    with control.backend.database.read() as session:
        checkpoints = list_checkpoints(session, twice.id)
    kept = [key for point in checkpoints for key in (point.key, point.picture_key)]
    assert [point.step for point in checkpoints] == [5, 10, 15, 20]
    assert all(context.store.read(key) for key in [*kept, twice.outputs[0]["key"]])
    assert context.store.read(layout.preview_key(twice.id, 2))
    assert context.store.read(layout.marker_key(twice.id, 2))


def test_a_job_that_is_extended_between_look_and_removal_ends_the_same(
    control: Control, context: WorkerContext, clock: Clock, twice: Job, pruner: Pruner
):
    clock.seconds += 2 * DAY_SECONDS
    plan = pruner.plan()
    with control.backend.database.write() as session:
        write_extend(session, get_job(session, twice.id), steps=10, now=control.clock())
    assert pruner.remove(plan).removed == []  # it is no longer final
    engine = SteadyEngine()
    work(context, read(control, twice), engine)
    control.round()
    assert (read(control, twice).status, engine.resumed_from) == ("succeeded", 20)


def test_nothing_of_a_job_that_is_not_final_goes(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    stray = layout.checkpoint_key(job.id, 1, 7)
    partial = f"{layout.attempt_folder(job.id, 1)}/.partial-x"
    write_old(context, clock, stray)
    write_old(context, clock, partial)
    plan = pruner.plan()
    assert names(plan) == {(Kind.PARTIAL_FILE, partial)}
    pruner.remove(plan)
    assert stray in files_of(context)
    assert partial not in files_of(context)


def test_leftovers_everywhere(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    kept = files_of(context)
    lost = layout.asset_key("d" * 64)
    gone = {
        lost,
        "assets/dd/.partial-1",
        "check/one",
        "check/.partial-2",
        f"jobs/{new_id()}/origin.safetensors",
    }
    for key in gone:
        write_old(context, clock, key)
    unknown = "jobs/lost+found/a"
    write_old(context, clock, unknown)
    plan = pruner.plan()
    assert files_of(context) == kept | gone | {unknown}  # a plan removes nothing
    assert len(pruner.remove(plan).removed) == 5
    assert files_of(context) == kept | {unknown}


def test_old_reports_and_keys_are_forgotten(control: Control, clock: Clock, job: Job, pruner: Pruner):
    with control.backend.database.write() as session:
        for days in (6, 8):
            session.add(InboxEntry(event_id=str(days), received_at=clock.now() - timedelta(days=days)))
        for hours in (23, 25):
            moment = clock.now() - timedelta(hours=hours)
            session.add(
                IdempotencyKey(
                    caller="local", key=str(hours), request_sha256="", answer=None, created_at=moment
                )
            )
    pruner.remove(pruner.plan())
    with control.backend.database.read() as session:
        assert [entry.event_id for entry in session.query(InboxEntry)] == ["6"]
        assert [entry.key for entry in session.query(IdempotencyKey)] == ["23"]


def test_many_old_entries_go_a_part_each_round(
    control: Control, clock: Clock, pruner: Pruner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("web.control.pruner._ROWS_A_ROUND", 1)
    moment = clock.now() - timedelta(days=8)
    with control.backend.database.write() as session:
        for number in range(70):
            session.add(InboxEntry(event_id=f"{number:02}", received_at=moment))
            session.add(
                IdempotencyKey(
                    caller="local", key=f"{number:02}", request_sha256="", answer=None, created_at=moment
                )
            )
    pruner.step()
    for expected in (50, 20):
        assert [finding.count for finding in pruner.step().removed] == [expected, expected]
    assert pruner.plan() == []


def test_an_unused_asset_goes_and_shared_bytes_stay(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    old = clock.now() - timedelta(days=2)
    write_old(context, clock, layout.asset_key("e" * 64))
    write_old(context, clock, layout.asset_thumbnail_key("e" * 64))
    first = add_picture(control, "e" * 64, now=old)
    second = add_picture(control, "e" * 64, caller="other", now=clock.now())
    plan = pruner.plan()
    assert names(plan) == {(Kind.UNUSED_ASSET, first)}
    pruner.remove(plan)
    assert {layout.asset_key("e" * 64), layout.asset_thumbnail_key("e" * 64)} <= files_of(context)
    clock.seconds += 2 * DAY_SECONDS
    plan = pruner.plan()
    assert names(plan) == {(Kind.UNUSED_ASSET, second)}
    pruner.remove(plan)
    assert not any("e" * 64 in key for key in files_of(context))


def test_an_asset_given_to_a_job_between_look_and_removal_stays(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    write_old(context, clock, layout.asset_key("e" * 64))
    asset_id = add_picture(control, "e" * 64, now=clock.now() - timedelta(days=2))
    plan = pruner.plan()
    with control.backend.database.write() as session:
        asset = session.get(Asset, asset_id)
        add_job(
            session, caller="local", name="late", content=asset, style=asset, options=StyleOptions(),
            labels={}, max_attempts=3, now=control.clock(),
        )  # fmt: skip
    assert pruner.remove(plan).removed == []
    assert layout.asset_key("e" * 64) in files_of(context)


def test_an_asset_starred_between_look_and_removal_stays(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    write_old(context, clock, layout.asset_key("e" * 64))
    asset_id = add_picture(control, "e" * 64, now=clock.now() - timedelta(days=2))
    plan = pruner.plan()
    assert names(plan) == {(Kind.UNUSED_ASSET, asset_id)}
    star_asset(control.backend, asset_id, caller="local", now=control.clock())
    assert pruner.remove(plan).removed == []
    assert layout.asset_key("e" * 64) in files_of(context)
    assert pruner.plan() == []


def upload_touches(context: WorkerContext, control: Control, sha256: str) -> None:
    context.store.touch(layout.asset_key(sha256))


def upload_commits(context: WorkerContext, control: Control, sha256: str) -> None:
    add_picture(control, sha256)


@pytest.mark.parametrize("upload", [upload_touches, upload_commits])
def test_bytes_uploaded_again_between_look_and_removal_stay(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner,
    upload: Callable[[WorkerContext, Control, str], None],
):  # fmt: skip
    key = layout.asset_key("f" * 64)
    write_old(context, clock, key)
    plan = pruner.plan()
    upload(context, control, "f" * 64)
    assert pruner.remove(plan).removed == []
    assert key in files_of(context)


def test_bytes_touched_after_the_last_look_stay(
    control: Control,
    context: WorkerContext,
    clock: Clock,
    job: Job,
    pruner: Pruner,
    monkeypatch: pytest.MonkeyPatch,
):
    key = layout.asset_key("f" * 64)
    write_old(context, clock, key)
    rename = Path.rename

    def touch_first(path: Path, target: Path) -> Path:
        context.store.touch(key)
        return rename(path, target)

    plan = pruner.plan()
    monkeypatch.setattr(Path, "rename", touch_first)
    assert pruner.remove(plan).removed == []
    monkeypatch.undo()
    assert context.store.read(key) == b"x"
    assert not any(file.is_partial for file in context.store.inventory("assets"))


def test_a_storage_that_fails_leaves_the_rest_for_another_time(
    control: Control,
    context: WorkerContext,
    clock: Clock,
    job: Job,
    pruner: Pruner,
    monkeypatch: pytest.MonkeyPatch,
):
    orphans = [layout.asset_key(digit * 64) for digit in "ab"]
    for key in orphans:
        write_old(context, clock, key)
    plan = pruner.plan()
    whole = context.store.delete_older

    def fails(key: str, moment: object) -> bool:
        if key == orphans[0]:
            raise StorageUnavailable("read-only")
        return whole(key, moment)

    monkeypatch.setattr(context.store, "delete_older", fails)
    removal = pruner.remove(plan)
    assert [finding.name for finding in removal.failed] == orphans[:1]
    assert [finding.name for finding in removal.removed] == orphans[1:]
    monkeypatch.undo()
    assert [finding.name for finding in pruner.remove(pruner.plan()).removed] == orphans[:1]


def test_a_crash_between_row_and_files_leaves_an_orphan_that_goes_later(
    control: Control,
    context: WorkerContext,
    clock: Clock,
    job: Job,
    pruner: Pruner,
    monkeypatch: pytest.MonkeyPatch,
):
    finish(control, context, job)
    with control.backend.database.write() as session:
        other = get_job(session, job.id)
        add_job(
            session, caller="local", name="another", content=other.content, style=other.style,
            options=StyleOptions(), labels={}, max_attempts=3, now=control.clock(),
        )  # fmt: skip
    clock.seconds += 31 * DAY_SECONDS

    def killed(prefix: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(context.store, "delete_tree", killed)
    with pytest.raises(KeyboardInterrupt):
        pruner.remove(pruner.plan())
    monkeypatch.undo()
    plan = [finding for finding in pruner.plan() if finding.kind is not Kind.INBOX_ENTRY]
    assert names(plan) == {(Kind.ORPHANED_JOB, f"jobs/{job.id}")}
    pruner.remove(plan)
    assert list(context.store.list("jobs")) == []


def test_beside_an_empty_database_nothing_is_an_orphan(
    control: Control, context: WorkerContext, clock: Clock, pruner: Pruner
):
    write_old(context, clock, f"jobs/{new_id()}/attempt-1/result.json")
    write_old(context, clock, layout.asset_key("a" * 64))
    assert pruner.plan() == []


def test_places_are_looked_at_in_turn(
    control: Control,
    context: WorkerContext,
    clock: Clock,
    job: Job,
    pruner: Pruner,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("web.control.pruner._PLACES_A_ROUND", 2)
    orphans = {f"jobs/{new_id()}/origin.safetensors" for _ in range(5)} | {layout.asset_key("a" * 64)}
    for key in orphans:
        write_old(context, clock, key)
    for _ in range(8):
        pruner.step()
    assert orphans & files_of(context) == set()


def test_touch_is_young_again(context: WorkerContext):
    context.store.write("check/a", b"")
    os.utime(context.store.root / "check/a", (0, 0))
    context.store.touch("check/a")
    assert context.store.stat("check/a").modified_at > utc_now() - timedelta(minutes=5)

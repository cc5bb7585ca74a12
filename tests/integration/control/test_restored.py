"""A database that was put back as it had been, while Redis and the storage lived on."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.broker import DEFAULT_ROUTE
from shared.protocol import EventType
from shared.redis.claims import Verdict
from shared.settings import Settings
from shared.storage.layout import marker_key
from tests.support.bench import history, read, report, rounds, waiting, work
from tests.support.clock import Clock
from tests.support.engines import DivergingEngine
from web.control.process import Control
from web.db.models import Job
from web.jobs.actions import write_extend, write_pause, write_resume
from web.jobs.queries import get_job
from worker.context import WorkerContext


class Backup:
    """The database's files, as they are when nobody writes."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.data_dir / "atelier.db"
        self._copy: dict[Path, bytes] = {}

    def make(self, control: Control) -> None:
        control.backend.database.close()
        self._copy = {path: path.read_bytes() for path in self._path.parent.glob("atelier.db*")}

    def put_back(self, control: Control) -> None:
        control.backend.database.close()
        for path in self._path.parent.glob("atelier.db*"):
            path.unlink()
        for path, data in self._copy.items():
            path.write_bytes(data)


@pytest.fixture
def backup(settings: Settings) -> Backup:
    return Backup(settings)


def test_a_job_that_succeeded_meanwhile_gets_its_result(
    control: Control, context: WorkerContext, clock: Clock, job: Job, backup: Backup
):
    rounds(control, clock)
    backup.make(control)
    work(context, job)
    control.round()
    before = read(control, job)
    backup.put_back(control)
    context.redis.client.delete(*context.redis.names.queue_lists(DEFAULT_ROUTE))
    assert read(control, job).status == "queued"
    rounds(control, clock)
    after = read(control, job)
    assert (after.status, after.attempt, after.outputs) == ("succeeded", 1, before.outputs)
    assert waiting(context) == 0
    assert history(control, job)[-2:] == ["output", "succeeded"]
    rounds(control, clock)
    assert control.faults == {}


def test_one_whose_message_still_waits_is_repaired_too(
    control: Control, context: WorkerContext, clock: Clock, job: Job, backup: Backup
):
    """Its message lies in the broker, but every node would drop it."""
    rounds(control, clock)
    backup.make(control)
    work(context, job)
    control.round()
    backup.put_back(control)
    assert waiting(context) == 1
    rounds(control, clock)
    rounds(control, clock)
    assert (read(control, job).status, waiting(context)) == ("succeeded", 0)


def test_a_job_that_failed_meanwhile_is_computed_above_the_fence(
    control: Control, context: WorkerContext, clock: Clock, job: Job, backup: Backup
):
    backup.make(control)
    work(context, job, DivergingEngine())
    control.round()
    assert read(control, job).status == "failed"
    backup.put_back(control)
    rounds(control, clock)
    after = read(control, job)
    assert (after.status, after.attempt, waiting(context)) == ("queued", 3, 1)
    assert context.redis.claims.claim(job.id, after.attempt, token="node-b") is Verdict.OK


def test_later_attempts_meanwhile(
    control: Control, context: WorkerContext, clock: Clock, job: Job, backup: Backup
):
    """The row is three attempts behind; the newest of the results is taken."""
    rounds(control, clock)
    backup.make(control)
    for _ in range(3):
        report(context, read(control, job), EventType.CLAIMED)
        rounds(control, clock)
        if read(control, job).status == "failed":
            break
        work(context, read(control, job)) if read(control, job).attempt == 3 else None
        control.round()
    assert (read(control, job).status, read(control, job).attempt) == ("succeeded", 3)
    backup.put_back(control)
    rounds(control, clock)
    assert (read(control, job).status, read(control, job).attempt) == ("succeeded", 3)


def test_a_node_that_is_at_work_on_a_later_attempt_is_left_alone(
    control: Control, context: WorkerContext, clock: Clock, job: Job, backup: Backup
):
    rounds(control, clock)
    backup.make(control)
    context.redis.claims.fence(job.id, 5)
    assert context.redis.claims.claim(job.id, 5, token="node-b") is Verdict.OK
    backup.put_back(control)
    context.redis.client.delete(*context.redis.names.queue_lists(DEFAULT_ROUTE))
    rounds(control, clock)
    assert (read(control, job).status, read(control, job).attempt) == ("queued", 1)
    context.redis.claims.release(job.id, 5, token="node-b", ended=True)
    rounds(control, clock)
    assert (read(control, job).attempt, waiting(context)) == (7, 1)


def test_a_running_row_far_below_the_fence_loses_no_worker(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    rounds(control, clock)
    report(context, job, EventType.CLAIMED)
    control.round()
    context.redis.claims.fence(job.id, 40)
    rounds(control, clock)
    after = read(control, job)
    assert (after.status, after.attempt, after.lost_workers) == ("queued", 41, 0)
    assert after.dispatched_at is not None


def test_a_paused_row_below_the_fence_is_resumed_above_it(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    with control.backend.database.write() as session:
        write_pause(session, get_job(session, job.id), now=clock.now())
    context.redis.claims.fence(job.id, 9)
    with control.backend.database.write() as session:
        write_resume(session, get_job(session, job.id), now=clock.now())
    rounds(control, clock)
    assert (read(control, job).attempt, waiting(context)) == (10, 1)


def test_a_result_of_another_timeline_is_not_taken(
    control: Control, context: WorkerContext, clock: Clock, job: Job, backup: Backup
):
    """Extended by 2, put back, extended by 7: the first extension's picture is not that of the second."""

    def extend(steps: int) -> None:
        with control.backend.database.write() as session:
            write_extend(session, get_job(session, job.id), steps=steps, now=clock.now())

    work(context, job)
    control.round()
    backup.make(control)
    extend(2)
    work(context, read(control, job))
    control.round()
    assert (read(control, job).step, read(control, job).attempt) == (22, 2)
    other = read(control, job).outputs
    backup.put_back(control)
    extend(7)
    rounds(control, clock)
    after = read(control, job)
    assert (after.status, after.attempt, waiting(context)) == ("queued", 4, 1)
    work(context, after)
    control.round()
    final = read(control, job)
    assert (final.status, final.step) == ("succeeded", 27)
    assert final.outputs != other


def test_the_same_extension_again_takes_the_same_result(
    control: Control, context: WorkerContext, clock: Clock, job: Job, backup: Backup
):
    def extend() -> None:
        with control.backend.database.write() as session:
            write_extend(session, get_job(session, job.id), steps=2, now=clock.now())

    work(context, job)
    control.round()
    backup.make(control)
    extend()
    work(context, read(control, job))
    control.round()
    outputs = read(control, job).outputs
    backup.put_back(control)
    extend()
    rounds(control, clock)
    after = read(control, job)
    assert (after.status, after.step, after.outputs) == ("succeeded", 22, outputs)


def test_a_result_whose_picture_is_gone_is_none(
    control: Control, context: WorkerContext, clock: Clock, job: Job, backup: Backup
):
    backup.make(control)
    work(context, job)
    control.round()
    key = read(control, job).outputs[0]["key"]
    backup.put_back(control)
    context.store.delete(key)
    rounds(control, clock)
    assert (read(control, job).status, read(control, job).attempt) == ("queued", 3)
    assert context.store.read(marker_key(job.id, 1))


@pytest.mark.parametrize("fence", ["9" * 30, "-4", "x"])
def test_a_fence_that_is_none_holds_nobody_up(
    control: Control, context: WorkerContext, clock: Clock, job: Job, fence: str
):
    context.redis.client.hset(context.redis.names.key("job", job.id), "attempt", fence)
    rounds(control, clock)
    assert (read(control, job).attempt, waiting(context)) == (1, 1)
    work(context, job)
    control.round()
    assert read(control, job).status == "succeeded"


def test_messages_of_jobs_that_the_database_does_not_know_are_withdrawn(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    rounds(control, clock)
    with control.backend.database.write() as session:
        session.delete(session.get(Job, job.id))
    rounds(control, clock)
    assert waiting(context) == 0

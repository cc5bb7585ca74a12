"""Marks of the dispatcher against a real database, and a projector that is never done."""

from __future__ import annotations

from datetime import datetime, timedelta

from shared.clock import utc_now
from shared.protocol import EventType
from tests.support.bench import history, read, report, work
from tests.support.clock import Clock
from web.control.process import Control
from web.control.projector import Projector
from web.db.models import Job
from web.jobs.queries import get_job
from web.jobs.queue import QueuedAttempt, dispatched_before, mark_dispatched
from web.jobs.states import Trigger
from web.jobs.transitions import apply_trigger
from worker.context import WorkerContext


def mark(control: Control, attempt: QueuedAttempt, moment: datetime | None) -> None:
    with control.backend.database.write() as session:
        mark_dispatched(session, [attempt], moment)


def sent(control: Control, *, before: datetime, now: datetime) -> list[str]:
    with control.backend.database.read() as session:
        return [attempt.message_id for attempt in dispatched_before(session, before, now=now)]


def test_a_mark_is_set_and_taken_back(control: Control, job: Job):
    moment = utc_now()
    mark(control, QueuedAttempt.of(job), moment)
    marked = read(control, job)
    assert (marked.dispatched_at, marked.version) == (moment, job.version)
    mark(control, QueuedAttempt.of(marked), None)
    assert read(control, job).dispatched_at is None


def test_a_job_that_has_changed_keeps_its_mark(control: Control, job: Job):
    seen = QueuedAttempt.of(job)
    with control.backend.database.write() as session:
        apply_trigger(session, get_job(session, job.id), Trigger.CANCEL, now=utc_now())
    mark(control, seen, utc_now())
    assert read(control, job).dispatched_at is None


def test_a_job_that_was_sent_meanwhile_stays_sent(control: Control, job: Job):
    first = utc_now()
    mark(control, QueuedAttempt.of(job), first)
    mark(control, QueuedAttempt.of(job), first + timedelta(seconds=1))
    assert read(control, job).dispatched_at == first


def test_sent_long_ago_or_in_the_future(control: Control, job: Job):
    moment = utc_now()
    mark(control, QueuedAttempt.of(job), moment)
    second = timedelta(seconds=1)
    assert sent(control, before=moment, now=moment + second) == []
    assert sent(control, before=moment + second, now=moment + second) == [f"{job.id}:1"]
    assert sent(control, before=moment - second, now=moment - second) == [f"{job.id}:1"]


def test_a_drain_ends_however_much_is_reported_meanwhile(control: Control, context: WorkerContext, job: Job):
    def report_more() -> datetime:
        report(context, job, EventType.CLAIMED)
        return utc_now()

    projector = Projector(control.backend, clock=report_more)
    report(context, job, EventType.CLAIMED)
    projector.drain()
    assert context.redis.stream.length() == 1


def test_all_of_a_job_in_one_transaction(control: Control, context: WorkerContext, clock: Clock, job: Job):
    control.round()
    work(context, job)
    assert context.redis.stream.length() > 3
    control.projector.drain()
    told = history(control, job)
    assert (told[0], told[-1], read(control, job).status) == ("queued", "succeeded", "succeeded")

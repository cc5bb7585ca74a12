"""A reported result is believed when control sees it: its marker and its files."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.errors import IdentityMissing
from shared.installation import IDENTITY_KEY
from shared.protocol import EventType
from shared.storage.layout import marker_key
from tests.support.bench import history, read, report, rounds, waiting, work
from tests.support.clock import Clock
from web.control.process import Control
from web.db.models import Job
from web.jobs.actions import write_cancel, write_pause
from web.jobs.queries import get_job
from worker.context import WorkerContext

Spoil = Callable[[WorkerContext, Job, str], None]


def _cut(context: WorkerContext, _: Job, key: str) -> None:
    context.store.write(key, context.store.read(key)[:-1])


SPOILT: dict[str, Spoil] = {
    "no marker": lambda context, job, _: context.store.delete(marker_key(job.id, 1)),
    "no picture": lambda context, _, key: context.store.delete(key),
    "neither": lambda context, job, _: context.store.delete_tree(f"jobs/{job.id}"),
    "a picture cut off": _cut,
    "an empty picture": lambda context, _, key: context.store.write(key, b""),
    "an empty marker": lambda context, job, _: context.store.write(marker_key(job.id, 1), b""),
}


def spoil(control: Control, context: WorkerContext, job: Job, how: str) -> None:
    """Compute a job, and spoil its result before control hears of it."""
    work(context, job)
    keys = [key for key in context.store.list(f"jobs/{job.id}") if "result-" in key]
    SPOILT[how](context, job, keys[0])
    control.round()


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_not_to_be_seen_is_not_believed_and_made_again(
    control: Control, context: WorkerContext, clock: Clock, job: Job, how: str
):
    rounds(control, clock)
    spoil(control, context, job, how)
    seen = read(control, job)
    assert (seen.status, seen.status_reason) == ("running", "result_missing")
    assert context.redis.stream.length() == 0
    rounds(control, clock, seconds=30)
    assert read(control, job).status == "running", "it may come in sight: NFS takes a while"
    rounds(control, clock, seconds=90)
    again = read(control, job)
    assert (again.status, again.attempt, again.lost_workers) == ("queued", 2, 1)
    work(context, again)
    control.round()
    final = read(control, job)
    assert final.status == "succeeded"
    assert context.store.read(final.outputs[0]["key"])
    assert "running" in history(control, job)


def test_a_result_that_comes_in_sight_is_taken(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    rounds(control, clock)
    work(context, job)
    keys = [key for key in context.store.list(f"jobs/{job.id}") if "result" in key]
    files = {key: context.store.read(key) for key in keys}
    for key in keys:
        context.store.delete(key)
    control.round()
    assert read(control, job).status_reason == "result_missing"
    for key, data in files.items():
        context.store.write(key, data)
    rounds(control, clock, seconds=30)
    assert (read(control, job).status, read(control, job).attempt) == ("succeeded", 1)


@pytest.mark.parametrize(("request_of", "ends_as"), [(write_cancel, "canceled"), (write_pause, "paused")])
def test_a_missing_result_keeps_no_request_waiting(
    control: Control, context: WorkerContext, clock: Clock, job: Job, request_of: Callable[..., None],
    ends_as: str,
):  # fmt: skip
    rounds(control, clock)
    report(context, job, EventType.CLAIMED)
    control.round()
    with control.backend.database.write() as session:
        request_of(session, get_job(session, job.id), now=clock.now())
    spoil(control, context, job, "neither")
    rounds(control, clock)
    assert read(control, job).status == ends_as


def test_without_its_storage_control_believes_and_rescues_nothing(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    rounds(control, clock)
    report(context, job, EventType.CLAIMED)
    control.round()
    work(context, job)
    identity = context.store.read(IDENTITY_KEY)
    context.store.delete(IDENTITY_KEY)
    for _ in range(3):
        rounds(control, clock, seconds=90)
    assert control.faults["reports"] == IdentityMissing.title()
    assert (read(control, job).status, read(control, job).attempt) == ("running", 1)
    assert context.redis.stream.length() > 0
    context.store.write(IDENTITY_KEY, identity)
    rounds(control, clock)
    assert control.faults == {}
    assert (read(control, job).status, read(control, job).attempt) == ("succeeded", 1)


def test_without_its_storage_jobs_are_still_sent(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    context.store.delete(IDENTITY_KEY)
    rounds(control, clock)
    assert waiting(context) == 1

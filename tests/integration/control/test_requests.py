"""What people ask of a job: pause, resume, retry, extend; and deadlines and shared work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.errors import InvalidState, LossNotFinite
from shared.options import StyleOptions, parse_options
from shared.protocol import EventType, JobMessage
from shared.redis.live import Flag
from shared.status import JobStatus
from tests.support.bench import history, read, report, rounds, waiting, work
from tests.support.clock import Clock
from tests.support.engines import SteadyEngine
from web.control.dispatcher import message_for
from web.control.followers import Follow, decide_follow
from web.control.process import Control
from web.db.models import Job
from web.jobs.actions import write_cancel, write_extend, write_pause, write_resume, write_retry
from web.jobs.queries import add_job, get_job
from web.jobs.reuse import find_finished, find_under_way, work_sha256
from web.jobs.transitions import list_checkpoints
from worker.context import WorkerContext
from worker.runner import Runner


def ask(control: Control, job: Job, request: object, **details: object) -> Job:
    with control.backend.database.write() as session:
        request(session, get_job(session, job.id), now=control.clock(), **details)
    return read(control, job)


def result(context: WorkerContext, job: Job) -> bytes:
    return context.store.read(job.outputs[0]["key"])


def lone_result(context: WorkerContext, message: JobMessage) -> bytes:
    """The result of the same work, never interrupted, under another id."""
    alone = message.model_copy(
        update={"job_id": f"alone-{message.job_id}", "attempt": 1, "checkpoints_since": 1}
    )
    Runner(context, SteadyEngine(), draining=lambda: False).run(alone)
    (key,) = [key for key in context.store.list(f"jobs/{alone.job_id}") if "/result-" in key]
    return context.store.read(key)


def pause_at(context: WorkerContext, job: Job, step: int) -> SteadyEngine:
    return SteadyEngine(
        lambda number: (
            context.redis.flags.raise_flag(job.id, job.attempt, Flag.PAUSE) if number == step else None
        )
    )


def test_pause_frees_the_worker_and_resume_ends_in_the_same_bytes(
    control: Control, context: WorkerContext, job: Job
):
    alone = lone_result(context, message_for(job))
    control.round()
    work(context, job, pause_at(context, job, 7))
    control.round()
    paused = read(control, job)
    assert (paused.status, paused.step) == ("paused", 7)
    assert context.redis.claims.without_lease([job.id]) == [job.id]
    resumed = ask(control, job, write_resume)
    assert (resumed.status, resumed.attempt) == ("queued", 2)
    engine = SteadyEngine()
    work(context, resumed, engine)
    control.round()
    done = read(control, job)
    assert (done.status, engine.resumed_from, engine.steps_made) == ("succeeded", 7, 13)
    assert result(context, done) == alone


def test_a_pause_is_asked_of_the_worker_and_may_be_repeated(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    control.round()
    context.redis.claims.claim(job.id, 1, token="node-a")
    report(context, job, EventType.CLAIMED)
    control.round()
    for _ in range(2):
        asked = ask(control, job, write_pause)
        assert (asked.status, asked.status_reason) == ("running", "pausing")
    rounds(control, clock)
    assert context.redis.flags.read(job.id, 1) is Flag.PAUSE
    work(context, job)
    control.round()
    assert read(control, job).status == "paused"
    assert history(control, job).count("paused") == 1


def test_a_pausing_job_whose_worker_is_lost_is_paused(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    control.round()
    report(context, job, EventType.CLAIMED)
    control.round()
    ask(control, job, write_pause)
    rounds(control, clock)
    assert read(control, job).status == "paused"


@pytest.mark.parametrize(("request_", "status"), [(write_pause, "paused"), (write_cancel, "canceled")])
def test_who_asks_again_does_not_change_why(
    control: Control, clock: Clock, context: WorkerContext, job: Job, request_: object, status: str
):
    control.round()
    report(context, job, EventType.CLAIMED)
    control.round()
    ask(control, job, request_)
    rounds(control, clock)
    before = read(control, job)
    assert (before.status, before.status_reason) == (status, "worker_lost")
    again = ask(control, job, request_)
    assert (again.version, again.status_reason) == (before.version, "worker_lost")


def test_a_queued_job_is_paused_at_once_and_its_message_is_harmless(
    control: Control, context: WorkerContext, job: Job
):
    control.round()
    ask(control, job, write_pause)
    context.redis.flags.raise_flag(job.id, 1, Flag.PAUSE)
    engine = SteadyEngine()
    work(context, job, engine)
    control.round()
    assert (engine.steps_made, read(control, job).status) == (0, "paused")
    again = ask(control, job, write_resume)
    work(context, again)
    control.round()
    assert read(control, job).status == "succeeded"


def test_a_canceled_job_keeps_its_picture_and_is_retried_from_it(
    control: Control, context: WorkerContext, job: Job
):
    control.round()
    engine = SteadyEngine(
        lambda number: context.redis.flags.raise_flag(job.id, 1, Flag.CANCEL) if number == 8 else None
    )
    report(context, job, EventType.CLAIMED)
    control.round()
    ask(control, job, write_cancel)
    work(context, job, engine)
    control.round()
    canceled = read(control, job)
    assert canceled.status == "canceled"
    with control.backend.database.read() as session:
        kept = list_checkpoints(session, job.id)[-1]
    assert context.store.read(kept.picture_key).startswith(b"\xff\xd8")
    again = ask(control, job, write_retry)
    assert (again.status, again.attempt, again.completed_at) == ("queued", 2, None)
    engine = SteadyEngine()
    work(context, again, engine)
    control.round()
    assert engine.resumed_from == kept.step
    assert read(control, job).status == "succeeded"


def test_a_retry_from_zero_uses_no_checkpoint(control: Control, context: WorkerContext, job: Job):
    def diverge(number: int) -> None:
        if number == 12:
            raise LossNotFinite("the style loss is nan at step 12")

    work(context, job, SteadyEngine(diverge))
    control.round()
    assert read(control, job).status == "failed"
    again = ask(control, job, write_retry, from_zero=True)
    assert (again.error, again.step) == (None, 0)
    engine = SteadyEngine()
    work(context, again, engine)
    control.round()
    assert (engine.resumed_from, read(control, job).status) == (None, "succeeded")


def test_a_succeeded_job_can_be_extended(control: Control, context: WorkerContext, job: Job):
    work(context, job)
    control.round()
    before = read(control, job)
    longer = ask(control, job, write_extend, steps=10)
    assert (longer.status, longer.options["steps"], longer.outputs) == ("queued", 30, before.outputs)
    engine = SteadyEngine()
    work(context, longer, engine)
    control.round()
    after = read(control, job)
    assert (engine.resumed_from, engine.steps_made) == (20, 10)
    assert (after.status, after.step) == ("succeeded", 30)
    assert result(context, after) != result(context, before)


def test_a_person_starts_the_count_of_lost_workers_anew(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    rounds(control, clock)
    for _ in range(3):
        report(context, read(control, job), EventType.CLAIMED)
        rounds(control, clock)
    assert read(control, job).status == "failed"
    again = ask(control, job, write_retry)
    assert (again.status, again.attempt, again.lost_workers) == ("queued", 4, 0)
    report(context, again, EventType.CLAIMED)
    rounds(control, clock)
    assert (read(control, job).status, read(control, job).attempt) == ("queued", 5)


def test_a_run_that_takes_too_long_ends_as_timeout(control: Control, context: WorkerContext, job: Job):
    message = message_for(job).model_copy(update={"run_timeout_seconds": 0.0})
    Runner(context, SteadyEngine(), draining=lambda: False).run(message)
    control.round()
    failed = read(control, job)
    assert (failed.status, failed.error["code"]) == ("failed", "timeout")


def test_a_job_that_waits_too_long_expires(control: Control, context: WorkerContext, clock: Clock, job: Job):
    with control.backend.database.write() as session:
        get_job(session, job.id).queue_deadline = clock.now() + timedelta(seconds=30)
    control.round()
    assert read(control, job).status == "queued"
    clock.seconds += 31
    control.round()
    expired = read(control, job)
    assert (expired.status, expired.error["code"]) == ("expired", "queue_deadline_passed")
    assert context.redis.flags.read(job.id, 1) is Flag.CANCEL
    with pytest.raises(InvalidState):
        ask(control, job, write_cancel)
    assert ask(control, job, write_retry).status == "queued"


@pytest.mark.parametrize(
    ("leader", "follow"),
    [
        (JobStatus.QUEUED, Follow.WAIT),
        (JobStatus.RUNNING, Follow.WAIT),
        (JobStatus.SUCCEEDED, Follow.TAKE),
        (JobStatus.PAUSED, Follow.LEAVE),
        (JobStatus.CANCELED, Follow.LEAVE),
        (JobStatus.FAILED, Follow.LEAVE),
        (None, Follow.LEAVE),
    ],
)
def test_what_a_follower_does(leader: JobStatus | None, follow: Follow):
    assert decide_follow(leader) is follow


def follower_of(control: Control, job: Job) -> Job:
    with control.backend.database.write() as session:
        leader = get_job(session, job.id)
        return add_job(
            session, caller="local", name="again", content=leader.content, style=leader.style,
            options=StyleOptions.model_validate(leader.options), labels={}, max_attempts=3,
            now=control.clock(),
            extra={"leader_id": leader.id},
        )  # fmt: skip


def test_a_follower_is_given_the_result(control: Control, context: WorkerContext, job: Job):
    follower = follower_of(control, job)
    control.round()
    assert waiting(context) == 1
    work(context, job)
    control.round()
    control.round()
    given = read(control, follower)
    assert (given.status, given.status_reason, given.leader_id) == ("succeeded", "reused", job.id)
    assert given.outputs[0]["key"].startswith(f"jobs/{follower.id}/")
    assert result(context, given) == result(context, read(control, job))
    assert history(control, follower) == ["queued", "output", "succeeded"]


def test_a_follower_goes_on_alone_when_its_leader_is_canceled(
    control: Control, context: WorkerContext, job: Job
):
    follower = follower_of(control, job)
    ask(control, job, write_cancel)
    control.round()
    alone = read(control, follower)
    assert (alone.status, alone.leader_id) == ("queued", None)
    work(context, alone)
    control.round()
    assert read(control, follower).status == "succeeded"


def test_only_work_done_with_the_same_weights_is_reused(control: Control, context: WorkerContext, job: Job):
    options = StyleOptions.model_validate(job.options)
    work_id = work_sha256(content_sha256="c", style_sha256="s", options=options)
    assert work_id == work_sha256(
        content_sha256="c", style_sha256="s", options=options.model_copy(update={"checkpoint_every": 7})
    )
    assert work_id != work_sha256(content_sha256="c", style_sha256="s", options=StyleOptions())
    # What a preset filled in counts, not what it is called.
    named = parse_options({**options.shown(), "preset": "bold"})
    assert work_id == work_sha256(content_sha256="c", style_sha256="s", options=named)
    with control.backend.database.write() as session:
        get_job(session, job.id).work_sha256 = work_id
    with control.backend.database.read() as session:
        assert find_under_way(session, work_id, caller="local").id == job.id
        assert find_under_way(session, work_id, caller="other") is None
    work(context, job)
    control.round()
    with control.backend.database.read() as session:
        assert find_finished(session, work_id, caller="local").id == job.id
        assert find_under_way(session, work_id, caller="local") is None
    newer = follower_of(control, job)
    with control.backend.database.write() as session:
        row = get_job(session, newer.id)
        row.started_at, row.weights, row.engine_version = (
            control.clock() + timedelta(days=1),
            {"sha256": "new"},
            "test",
        )
    with control.backend.database.read() as session:
        assert find_finished(session, work_id, caller="local") is None

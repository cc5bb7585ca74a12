"""Control against a real database, Redis and store; the worker's part is played by the runner itself."""

from __future__ import annotations

import pytest

from shared.clock import utc_now
from shared.protocol import EventType, JobMessage
from shared.redis.claims import Verdict
from shared.redis.live import Flag
from shared.settings import Settings
from shared.status import JobStatus
from shared.storage import layout
from tests.support.bench import history, make_control, read, report, rounds, usual_list, waiting, work
from tests.support.clock import Clock
from tests.support.engines import DivergingEngine, SteadyEngine
from web.control.dispatcher import message_for
from web.control.followers import Followers
from web.control.process import Control
from web.control.rescuer import Rescuer
from web.db.models import Job
from web.jobs.queries import get_job
from web.jobs.states import Trigger
from web.jobs.transitions import apply_trigger, list_attempts, list_checkpoints
from worker.context import WorkerContext
from worker.runner import Runner


def test_a_submitted_job_is_dispatched_once(control: Control, context: WorkerContext, job: Job):
    control.round()
    control.round()
    assert waiting(context) == 1
    assert read(control, job).dispatched_at is not None
    assert read(control, job).version == 1


def test_a_job_is_followed_to_its_end(control: Control, context: WorkerContext, job: Job):
    work(context, job)
    control.round()
    after = read(control, job)
    assert (after.status, after.step, after.worker_id) == ("succeeded", 20, "node-a")
    assert after.outputs[0]["key"].startswith(f"jobs/{job.id}/attempt-1/result-")
    assert after.weights["notice"] == "untrained weights"
    assert after.metrics["run_seconds"] >= 0
    assert after.completed_at is not None
    assert history(control, job) == [
        "queued", "attempt", "running", *["checkpoint"] * 4, "output", "succeeded",
    ]  # fmt: skip
    assert after.version == 9
    with control.backend.database.read() as session:
        assert [checkpoint.step for checkpoint in list_checkpoints(session, job.id)] == [5, 10, 15, 20]
        (attempt,) = list_attempts(session, job.id)
    assert (attempt.outcome, attempt.worker_id) == ("succeeded", "node-a")


def test_a_job_that_was_handed_back_waits_anew(
    control: Control, context: WorkerContext, job: Job, clock: Clock
):
    report(context, job, EventType.CLAIMED)
    control.round()
    assert read(control, job).queued_at == job.queued_at
    clock.seconds += 60
    report(context, job, EventType.RELEASED)
    control.round()
    after = read(control, job)
    assert (after.status, after.created_at) == ("queued", job.created_at)
    assert after.queued_at == clock.now()


def test_a_failure_keeps_its_cause(control: Control, context: WorkerContext, job: Job):
    work(context, job, DivergingEngine())
    control.round()
    after = read(control, job)
    assert after.status == "failed"
    assert after.error["code"] == "loss_not_finite"
    assert "nan at step 3" in after.error["detail"]


def test_repeated_reports_are_applied_once(control: Control, context: WorkerContext, job: Job):
    work(context, job)
    deliveries = context.redis.stream.fresh(count=100)
    for delivery in deliveries:
        context.redis.client.xadd("atelier:events", {"event": delivery.text})
    control.round()
    control.round()
    assert read(control, job).version == 9
    assert context.redis.stream.length() == 0


def test_an_unreadable_report_does_not_stop_the_others(control: Control, context: WorkerContext, job: Job):
    context.redis.client.xadd("atelier:events", {"event": '{"version": 99}'})
    context.redis.client.xadd("atelier:events", {"other": "field"})
    work(context, job)
    control.round()
    assert read(control, job).status == "succeeded"


def test_a_lost_lease_leads_to_the_next_attempt(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    rounds(control, clock)

    def vanish(number: int) -> None:
        if number == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(context, job, SteadyEngine(vanish))
    rounds(control, clock)
    after = read(control, job)
    assert (after.status, after.status_reason, after.attempt) == ("queued", "worker_lost", 2)
    engine = SteadyEngine()
    work(context, after, engine)
    control.round()
    assert engine.resumed_from == 5
    final = read(control, job)
    assert (final.status, final.attempt, final.resumed_from_step) == ("succeeded", 2, 5)
    with control.backend.database.read() as session:
        assert [a.outcome for a in list_attempts(session, job.id)] == ["worker_lost", "succeeded"]


def test_attempts_run_out(control: Control, context: WorkerContext, clock: Clock, job: Job):
    rounds(control, clock)
    for _ in range(3):
        report(context, read(control, job), EventType.CLAIMED)
        rounds(control, clock)
    after = read(control, job)
    assert (after.status, after.attempt, after.error["code"]) == ("failed", 3, "worker_lost")


def test_a_held_lease_is_left_alone(control: Control, context: WorkerContext, clock: Clock, job: Job):
    rounds(control, clock)
    context.redis.claims.claim(job.id, 1, token="node-a")
    report(context, job, EventType.CLAIMED)
    rounds(control, clock)
    assert (read(control, job).status, read(control, job).attempt) == ("running", 1)


def test_a_lost_success_is_repaired_from_the_marker(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    rounds(control, clock)
    report(context, job, EventType.CLAIMED)
    control.round()
    work(context, job)
    context.redis.client.delete("atelier:events")
    rounds(control, clock)
    after = read(control, job)
    assert (after.status, after.attempt) == ("succeeded", 1)
    assert context.store.read(after.outputs[0]["key"])


def test_a_success_that_is_still_in_the_stream_is_nothing_to_repair(
    control: Control, context: WorkerContext, job: Job
):
    report(context, job, EventType.CLAIMED)
    control.round()
    work(context, job)
    assert control.rescuer.rescue(control.projector) == 0
    assert read(control, job).status == "succeeded"


def test_rescues_wait_after_redis_lost_its_data(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    rounds(control, clock)
    context.redis.claims.claim(job.id, 1, token="node-a")
    report(context, job, EventType.CLAIMED)
    rounds(control, clock)
    context.redis.client.flushall()
    clock.seconds += 60
    control.round()
    assert read(control, job).attempt == 1
    # The worker takes its lease again within this time.
    context.redis.claims.renew(job.id, 1, token="node-a")
    clock.seconds += 60
    control.round()
    assert (read(control, job).status, read(control, job).attempt) == ("running", 1)


def test_a_lost_message_is_sent_again(control: Control, context: WorkerContext, clock: Clock, job: Job):
    rounds(control, clock)
    assert waiting(context) == 1
    context.redis.client.delete(usual_list(context.redis.names))
    rounds(control, clock)
    assert waiting(context) == 1
    rounds(control, clock)
    assert waiting(context) == 1


def test_a_canceled_claim_is_told_to_stop(control: Control, context: WorkerContext, job: Job):
    with control.backend.database.write() as session:
        apply_trigger(session, get_job(session, job.id), Trigger.CANCEL, now=utc_now())
    report(context, job, EventType.CLAIMED)
    control.round()
    assert read(control, job).status == "canceled"
    assert context.redis.flags.read(job.id, 1) is Flag.CANCEL


def test_who_takes_a_lost_job_again_is_told_to_stop(control: Control, context: WorkerContext, job: Job):
    """A node sleeps, its job is rescued, Redis loses its fences, and the node wakes and renews its lease."""

    def sleep_and_wake(number: int) -> None:
        if number == 8:
            control.projector.drain()
            context.redis.client.flushall()
            assert control.rescuer.rescue(control.projector) == 1
            assert context.redis.claims.renew(job.id, 1, token="node-a") is Verdict.STALE
            context.redis.client.flushall()
            assert context.redis.claims.renew(job.id, 1, token="node-a") is Verdict.RESTORED
            report(context, job, EventType.CLAIMED)
            control.projector.drain()

    engine = SteadyEngine(sleep_and_wake)
    work(context, job, engine)
    control.projector.drain()
    assert (engine.steps_made, read(control, job).status, read(control, job).attempt) == (8, "queued", 2)
    assert context.redis.claims.without_lease([job.id]) == [job.id]
    assert context.redis.flags.read(job.id, 2) is None


def test_a_lost_cancel_flag_is_raised_again(control: Control, context: WorkerContext, clock: Clock, job: Job):
    rounds(control, clock)
    context.redis.claims.claim(job.id, 1, token="node-a")
    report(context, job, EventType.CLAIMED)
    control.round()
    with control.backend.database.write() as session:
        apply_trigger(session, get_job(session, job.id), Trigger.CANCEL, now=utc_now())
    rounds(control, clock)
    assert context.redis.flags.read(job.id, 1) is Flag.CANCEL
    work(context, job)
    control.round()
    assert read(control, job).status == "canceled"


def test_a_drained_job_is_queued_at_the_same_attempt(control: Control, context: WorkerContext, job: Job):
    Runner(context, SteadyEngine(), draining=lambda: True).run(message_for(job))
    control.round()
    after = read(control, job)
    assert (after.status, after.status_reason, after.attempt) == ("queued", "worker_drained", 1)
    work(context, job)
    control.round()
    assert read(control, job).status == JobStatus.SUCCEEDED


def test_the_message_is_what_the_row_says(job: Job):
    message = message_for(job)
    assert isinstance(message, JobMessage)
    assert message.options.steps == 20
    assert message.content.key == layout.asset_key(job.content.sha256)


def test_a_part_that_fails_for_no_known_reason_stops_no_other(
    settings: Settings, context: WorkerContext, clock: Clock, job: Job, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> int:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(Followers, "follow", fail)
    monkeypatch.setattr(Rescuer, "rescue", fail)
    control = make_control(settings, clock)
    rounds(control, clock)
    assert waiting(context) == 1
    assert control.faults.keys() == {"followers", "rescue"}
    assert "LookupError" in control.faults["rescue"]
    work(context, job)
    control.round()
    assert read(control, job).status == "succeeded"
    control.beat()
    told = control.backend.redis.control.read()
    assert told is not None
    assert told.faults == control.faults
    monkeypatch.undo()
    control.close()

"""What control counts when workers are lost and jobs end: once each, however often it is reported."""

from __future__ import annotations

import pytest

from shared.protocol import EventType
from tests.support.bench import history, read, report, rounds, work
from tests.support.clock import Clock
from tests.support.engines import SteadyEngine
from web.control.dispatcher import message_for
from web.control.process import Control
from web.db.models import Job
from web.db.totals import Spread, Total, read_totals
from worker.context import WorkerContext


def counted(control: Control) -> dict[str, float]:
    """All totals that have grown, the labels left out but for the reason."""
    with control.backend.database.read() as session:
        totals = read_totals(session)
    return {
        " ".join(filter(None, (total.value, one.labels.get("reason"), one.labels.get("status")))): one.value
        for total in Total
        for one in totals.of(total)
    }


def test_a_lost_worker_is_counted_and_its_steps_are_counted_once(
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
    assert after.attempt == 2
    assert message_for(after).traceparent == job.traceparent
    work(context, after, SteadyEngine())
    rounds(control, clock)
    assert history(control, job)[-1] == "succeeded"
    assert counted(control) == {
        "jobs_submitted_total": 1,
        "claims_total": 2,
        "lease_losses_total": 1,
        "retries_total worker_lost": 1,
        "checkpoints_total": 4,
        "steps_total": 20,
        "jobs_ended_total succeeded": 1,
    }
    with control.backend.database.read() as session:
        (step,) = read_totals(session).histograms(Spread.STEP)
    assert step.labels == {"device": "cpu", "method": "gatys"}
    assert step.buckets[-1] == ("+Inf", 1)


def test_reports_that_come_again_count_once(control: Control, context: WorkerContext, job: Job):
    report(context, job, EventType.CLAIMED)
    control.round()
    work(context, job)
    control.round()
    before = counted(control)
    control.projector._has_pending = True
    report(context, job, EventType.CLAIMED)
    control.round()
    assert counted(control) == before

"""A control with a clock of its own, a worker's context, a submitted job, and what tests do with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared.clock import utc_now
from shared.options import StyleOptions
from shared.protocol import EventType, WorkerEvent
from shared.settings import Settings
from shared.storage import layout
from tests.engines import SteadyEngine
from tests.support.rows import add_picture
from web.control.dispatcher import message_for
from web.control.process import Control
from web.db.models import Job
from web.jobs.queries import add_job, get_job
from web.jobs.transitions import events_after
from worker.context import WorkerContext
from worker.runner import Runner


@dataclass
class Clock:
    """A clock that moves only when a test moves it."""

    start: datetime = field(default_factory=utc_now)
    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def control(settings: Settings, clock: Clock) -> Iterator[Control]:
    control = Control(
        settings.model_copy(update={"dispatch_seconds": 0.001}),
        clock=clock.now,
        clock_seconds=clock.monotonic,
    )
    yield control
    control.close()


@pytest.fixture
def context(settings: Settings) -> Iterator[WorkerContext]:
    context = WorkerContext.open(settings, worker_id="node-a", device="cpu")
    yield context
    context.redis.close()


@pytest.fixture
def job(control: Control, context: WorkerContext, make_picture: Callable[..., bytes]) -> Job:
    """A job just submitted: its pictures stored, its row committed."""
    data = make_picture()
    sha256 = hashlib.sha256(data).hexdigest()
    context.store.write(layout.asset_key(sha256), data)
    with control.backend.database.write() as session:
        asset = add_picture(session, now=utc_now(), sha256=sha256, size_bytes=len(data))
        return add_job(
            session, caller="local", name="a job", content=asset, style=asset,
            options=StyleOptions(steps=20, checkpoint_every=5), labels={}, max_attempts=3, now=utc_now(),
        )  # fmt: skip


def read(control: Control, job: Job) -> Job:
    with control.backend.database.read() as session:
        return get_job(session, job.id)


def history(control: Control, job: Job) -> list[str]:
    with control.backend.database.read() as session:
        events = events_after(session, job.id, 0)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return [
        event.data.get("status", event.type) if event.type == "status" else event.type for event in events
    ]


def work(context: WorkerContext, job: Job, engine: SteadyEngine | None = None) -> None:
    Runner(context, engine or SteadyEngine(), draining=lambda: False).run(message_for(job))


def rounds(control: Control, clock: Clock, *, seconds: float = 60) -> None:
    """One round now, one when rescues are due again, and one that sends what that made due."""
    control.round()
    clock.seconds += seconds
    control.round()
    control.round()


def waiting(context: WorkerContext) -> int:
    return int(context.redis.client.llen("atelier.jobs"))


def report(context: WorkerContext, job: Job, kind: EventType) -> None:
    weights = {"name": "untrained", "sha256": "0", "notice": None}
    data = {
        "worker_id": "node-a", "device": "cpu", "weights": weights, "engine_version": "test",
        "resumed_from_step": None,
    }  # fmt: skip
    event_id = f"{job.id}:{job.attempt}:{kind}"
    context.redis.stream.report(
        WorkerEvent(event_id=event_id, type=kind, job_id=job.id, attempt=job.attempt, at=utc_now(), data=data)
    )

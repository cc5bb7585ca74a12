"""A real control and a real worker, one step at a time, and what tests see of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask.testing import FlaskClient

from shared.broker import DEFAULT_ROUTE, list_of
from shared.clock import utc_now
from shared.protocol import EventType, WorkerEvent
from shared.redis.names import Names
from shared.settings import Settings
from shared.status import DEFAULT_PRIORITY
from shared.storage.layout import job_folder
from tests.support.clock import Clock
from tests.support.engines import SteadyEngine, WeighingEngine
from tests.support.installation import names_of
from tests.support.waiting import wait_until
from web.control.dispatcher import message_for
from web.control.process import Control
from web.db.models import Job
from web.jobs.queries import get_job
from web.jobs.transitions import events_after
from worker.context import WorkerContext
from worker.runner import Runner

JOBS = "/api/v1/jobs"


def make_control(settings: Settings, clock: Clock) -> Control:
    """Return a control that goes by a test's clock, and sends what is due at once."""
    return Control(
        settings.model_copy(update={"dispatch_seconds": 0.001}),
        clock=clock.now,
        clock_seconds=clock.monotonic,
    )


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


def apply_checkpoints(control: Control, job_id: str, *, before_step: int) -> None:
    """Apply what a running attempt reports until the checkpoints before a step are there.

    They are written beside the steps, so that the next step may begin first.
    """

    def is_there() -> bool:
        control.projector.drain()
        with control.backend.database.read() as session:
            job = get_job(session, job_id)
        every = int(job.options["checkpoint_every"])
        return job.step >= (before_step - 1) // every * every

    wait_until(is_there, seconds=20, what=f"the checkpoints before step {before_step} are recorded")


def usual_list(names: Names, route: str = DEFAULT_ROUTE) -> str:
    """Where the messages of a route lie whose jobs have the usual priority."""
    return names.queue_list(route, list_of(route, DEFAULT_PRIORITY))


def waiting(context: WorkerContext) -> int:
    """How many messages wait, of whatever priority."""
    names = context.redis.names.queue_lists(DEFAULT_ROUTE)
    return sum(int(context.redis.client.llen(name)) for name in names)


def report(context: WorkerContext, job: Job, kind: EventType, **more: Any) -> None:
    weights = {"name": "untrained", "sha256": "0", "notice": None}
    data = {
        "worker_id": "node-a", "device": "cpu", "weights": weights, "engine_version": "test",
        "resumed_from_step": None, **more,
    }  # fmt: skip
    event_id = f"{job.id}:{job.attempt}:{kind}"
    context.redis.stream.report(
        WorkerEvent(event_id=event_id, type=kind, job_id=job.id, attempt=job.attempt, at=utc_now(), data=data)
    )


class Bench:
    """Both behind the app: works on jobs when told to; `hours` moves control's clock."""

    def __init__(self, settings: Settings, client: FlaskClient) -> None:
        self.client = client
        self.hours = 0.0
        self.control = Control(
            settings.model_copy(update={"dispatch_seconds": 0.001}),
            clock=self.now,
            clock_seconds=lambda: self.hours * 3600,
        )
        self.context = WorkerContext.open(
            settings, names_of(settings), worker_id="node-a", device="cpu", talk_seconds=0
        )

    def close(self) -> None:
        self.context.redis.close()
        self.control.close()

    def now(self) -> datetime:
        return utc_now() + timedelta(hours=self.hours)

    def row(self, job_id: str) -> Job:
        with self.control.backend.database.read() as session:
            return get_job(session, job_id)

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as the API shows it, with all reports applied."""
        self.control.projector.drain()
        return self.client.get(f"{JOBS}/{job_id}").json

    def work(self, job_id: str, engine: SteadyEngine | None = None) -> SteadyEngine:
        """Carry out the attempt that a job is at, and apply what is reported."""
        engine = engine or WeighingEngine()
        work(self.context, self.row(job_id), engine)
        self.control.projector.drain()
        return engine

    def work_until(self, job_id: str, step: int, act: Callable[[], object]) -> SteadyEngine:
        """Carry a job out, and do something right before a step, when all before it is recorded."""

        def before(number: int) -> None:
            if number == step:
                apply_checkpoints(self.control, job_id, before_step=step)
                act()

        return self.work(job_id, WeighingEngine(before))

    def post(self, job_id: str, action: str, body: object = None) -> dict[str, Any]:
        """Ask for something that is granted, and return the answer."""
        response = self.client.post(f"{JOBS}/{job_id}/{action}", json=body)
        assert response.status_code in (200, 202), response.text
        return response.json

    def output(self, job_id: str) -> bytes:
        with self.client.get(f"{JOBS}/{job_id}/output") as response:
            assert response.status_code == 200, response.text
            return response.data

    def attempts(self, job_id: str) -> list[tuple[int, int | None, str | None]]:
        """Number, first step and outcome of each attempt."""
        shown = self.client.get(f"{JOBS}/{job_id}/attempts").json["attempts"]
        return [(one["number"], one["resumed_from_step"], one["outcome"]) for one in shown]

    def files(self, job_id: str) -> dict[str, bytes]:
        store = self.context.store
        return {key: store.read(key) for key in store.list(job_folder(job_id))}

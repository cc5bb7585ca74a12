"""A real worker and a real control behind the app, one step at a time, and what tests see of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask.testing import FlaskClient

from shared.clock import utc_now
from shared.settings import Settings
from shared.storage.layout import job_folder
from tests.engines import SteadyEngine, WeighingEngine
from web.control.dispatcher import message_for
from web.control.process import Control
from web.db.models import Job
from web.jobs.queries import get_job
from worker.context import WorkerContext
from worker.runner import Runner

JOBS = "/api/v1/jobs"


class Bench:
    """Works on jobs when told to; `hours` moves control's clock."""

    def __init__(self, settings: Settings, client: FlaskClient) -> None:
        self.client = client
        self.hours = 0.0
        self.control = Control(
            settings.model_copy(update={"dispatch_seconds": 0.001}),
            clock=self.now,
            clock_seconds=lambda: self.hours * 3600,
        )
        self.context = WorkerContext.open(settings, worker_id="node-a", device="cpu")

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
        Runner(self.context, engine, draining=lambda: False).run(message_for(self.row(job_id)))
        self.control.projector.drain()
        return engine

    def work_until(self, job_id: str, step: int, act: Callable[[], object]) -> SteadyEngine:
        """Carry a job out, and do something right before a step, when its claim is recorded."""

        def before(number: int) -> None:
            if number == step:
                self.control.projector.drain()
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

"""Fixtures of the web tests: the app on a real database, storage and Redis, and someone who does the work."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from shared.clock import utc_now
from shared.protocol import EventType, WorkerEvent, new_id
from shared.redis.live import LiveProgress
from shared.settings import Settings
from shared.storage.layout import (
    checkpoint_key,
    checkpoint_picture_key,
    preview_key,
    result_picture_key,
)
from tests.integration.web.bench import Bench
from tests.integration.web.seen_job import SeenJob
from web.app import create_app
from web.control.projector import Projector
from web.services import Services, services_of

JOBS = "/api/v1/jobs"


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings.model_copy(update={"web_threads": 4}))
    yield app
    services_of(app).close()


@pytest.fixture
def services(app: Flask) -> Services:
    return services_of(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def parts(make_picture: Callable[..., bytes]) -> Callable[..., dict[str, object]]:
    """A maker of multipart bodies; what is given as bytes becomes a file, None is left out."""

    def make(**changes: object) -> dict[str, object]:
        given = {"content": make_picture(seed=1), "style": make_picture(48, 64, seed=2), **changes}
        shown = {}
        for name, value in given.items():
            if isinstance(value, bytes):
                value = (io.BytesIO(value), f"{name}.png")
            if isinstance(value, dict):
                value = json.dumps(value)
            if value is not None:
                shown[name] = value
        return shown

    return make


@pytest.fixture
def submit(client: FlaskClient, parts: Callable[..., dict[str, object]]) -> Callable[..., dict]:
    """Submit a job of two small pictures, which is to be computed, and return it."""

    def do(**changes: object) -> dict:
        response = client.post(JOBS, data=parts(**{"reuse": "false", **changes}))
        assert response.status_code == 202, response.text
        return response.json

    return do


@pytest.fixture
def workshop(services: Services) -> Workshop:
    return Workshop(services)


@pytest.fixture
def bench(settings: Settings, client: FlaskClient) -> Iterator[Bench]:
    """A real worker and a real control."""
    bench = Bench(settings, client)
    yield bench
    bench.close()


@pytest.fixture
def see(client: FlaskClient) -> Callable[..., SeenJob]:
    """Look at the page of a job."""

    def do(job_id: str, query: str = "") -> SeenJob:
        answer = client.get(f"/jobs/{job_id}{query}", headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        return SeenJob(answer.text)

    return do


@pytest.fixture
def press(client: FlaskClient) -> Callable[..., TestResponse]:
    """Send a form of the page of a job."""

    def do(job_id: str, action: str, **fields: str) -> TestResponse:
        return client.post(f"/jobs/{job_id}/{action}", data=fields, headers={"Accept": "text/html"})

    return do


@pytest.fixture
def nothing_left(services: Services, settings: Settings) -> Callable[[], None]:
    """Assert that no file and no row is there."""

    def check() -> None:
        assert stored_files(settings) == []
        with services.backend.database.read() as session:
            for table in ("assets", "jobs", "job_events", "job_labels"):
                assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0, table

    return check


def stored_files(settings: Settings) -> list[Path]:
    root = settings.data_dir / "storage"
    return [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []


class Workshop:
    """Does to a job what a worker and the control process would."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._projector = Projector(services.backend, clock=utc_now)

    def claim(self, job_id: str) -> None:
        weights = {"name": "untrained", "sha256": "ab" * 32, "notice": "not trained"}
        self._report(
            job_id,
            EventType.CLAIMED,
            worker_id="gpu-a",
            device="cuda:0",
            weights=weights,
            engine_version="1",
            resumed_from_step=None,
        )

    def checkpoint(self, job_id: str, step: int, picture: bytes = b"picture") -> None:
        keys = checkpoint_key(job_id, 1, step), checkpoint_picture_key(job_id, 1, step)
        self._services.backend.storage.write(keys[1], picture)
        self._report(
            job_id,
            EventType.CHECKPOINTED,
            step=step,
            steps=100,
            key=keys[0],
            picture_key=keys[1],
            sha256=f"{step:064d}",
            losses={"total": 3.0, "content": 1.0, "style": 2.0},
            curve=[[step, 3.0, 1.0, 2.0]],
        )

    def preview(self, job_id: str, data: bytes, attempt: int = 1) -> None:
        self._services.backend.storage.write(preview_key(job_id, attempt), data)

    def succeed(self, job_id: str, picture: bytes = b"result", sha256: str = "cd" * 32) -> None:
        key = result_picture_key(job_id, 1, sha256)
        self._services.backend.storage.write(key, picture)
        output = {
            "name": "result.png",
            "key": key,
            "content_type": "image/png",
            "size_bytes": len(picture),
            "sha256": sha256,
            "width": 64,
            "height": 48,
        }
        self._report(
            job_id,
            EventType.SUCCEEDED,
            step=100,
            losses={"total": 2.0, "content": 1.0, "style": 1.0},
            outputs=[output],
            weights={"name": "untrained", "sha256": None, "notice": "not trained"},
            engine_version="1",
            run_seconds=12.5,
            gpu_peak_bytes=None,
        )

    def fail(self, job_id: str) -> None:
        error = {"code": "out_of_memory", "title": "t", "detail": "d", "retryable": False, "suggestion": "s"}
        self._report(job_id, EventType.FAILED, error=error)

    def progress(self, job_id: str, step: int, *, attempt: int = 1, preview_step: int = 0) -> None:
        live = LiveProgress(
            attempt=attempt,
            step=step,
            steps=100,
            loss_total=5.0,
            loss_content=2.0,
            loss_style=3.0,
            steps_per_second=4.0,
            preview_step=preview_step,
        )
        self._services.backend.redis.progress.publish(job_id, live)

    def _report(self, job_id: str, kind: EventType, **data: object) -> None:
        event = WorkerEvent(
            event_id=new_id(), type=kind, job_id=job_id, attempt=1, at=utc_now(), data=dict(data)
        )
        self._projector.apply(event)


def assert_problem(response: TestResponse, status: int, code: str) -> dict:
    """Assert that a response is a whole problem of this kind, and return it."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    assert response.headers["X-Request-Id"]
    problem = json.loads(response.text)
    assert {"type", "title", "status", "detail", "instance", "code", "errors"} <= problem.keys()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]
    return problem


@pytest.fixture
def problem_of() -> Callable[[TestResponse, int, str], dict]:
    return assert_problem

"""The app on a real database, storage and Redis, and someone who does the work."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from shared.settings import Settings
from tests.support.app import stored_files
from tests.support.bench import Bench
from tests.support.control import pretend_control
from tests.support.seen_job import SeenJob
from tests.support.workshop import Workshop
from web.app import create_app
from web.services import Services, services_of

JOBS = "/api/v1/jobs"


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings.model_copy(update={"web_threads": 4}))
    pretend_control(services_of(app).backend.redis)
    # What a test has done is to be seen at once, whoever it did it as.
    services_of(app).backend.shared.stale_seconds = 0
    # Who asks is looked up once: tests that count statements must not depend on the clock.
    services_of(app).gate.stale_seconds = math.inf
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

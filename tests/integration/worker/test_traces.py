"""A trace from the request on: in the row, in the broker's message, in a real node's logs and reports."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from shared.settings import Settings
from shared.trace import trace_id_of
from tests.support.control import running_control
from tests.support.waiting import wait_until
from tests.support.workshop import Workshop
from web.app import create_app
from web.db.models import Job
from web.services import Services, services_of

pytestmark = pytest.mark.process

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
JOBS = "/api/v1/jobs"


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    app = create_app(settings.model_copy(update={"web_threads": 4}))
    yield services_of(app)
    services_of(app).close()


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings.model_copy(update={"web_threads": 4}))
    yield app.test_client()
    services_of(app).close()


@pytest.fixture
def hand_in(client: FlaskClient, make_picture: Callable[..., bytes]) -> Callable[..., str]:
    """Submit a job with these header fields, and return its id."""

    def do(headers: dict[str, str] | None = None) -> str:
        files = {
            part: (io.BytesIO(make_picture(seed=seed)), "a.png")
            for seed, part in enumerate(("content", "style"))
        }
        data = {
            **files,
            "options": json.dumps({"steps": 4, "size": 48, "checkpoint_every": 2}),
            "reuse": "false",
        }
        answer = client.post(JOBS, data=data, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json["id"])

    return do


def trace_of(services: Services, job_id: str) -> str | None:
    with services.backend.database.read() as session:
        row = session.get(Job, job_id)
        assert row is not None
        return trace_id_of(row.traceparent)


def test_a_job_has_the_trace_of_its_request_and_so_have_all_logs_of_it(
    services: Services, client: FlaskClient, hand_in: Callable[..., str], settings: Settings,
    start: Callable[..., subprocess.Popen[str]],
):  # fmt: skip
    with capture_logs() as logs:
        job_id = hand_in(GIVEN)
        assert trace_of(services, job_id) == TRACE
        node = start(changes={"log_format": "json"})
        with running_control(settings):
            wait_until(
                lambda: client.get(f"{JOBS}/{job_id}").json["status"] == "succeeded",
                seconds=90, what="the job is done",
            )  # fmt: skip
    node.send_signal(signal.SIGTERM)
    said, _ = node.communicate(timeout=60)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    about = [line for line in lines if line.get("job_id") == job_id]
    assert {"attempt_begun", "attempt_succeeded"} <= {line["event"] for line in about}
    assert {line["trace_id"] for line in about} == {TRACE}
    assert {line["attempt"] for line in about} == {1}
    applied = [line for line in logs if line["event"] == "report_applied"]
    assert {line["type"] for line in applied} == {"claimed", "checkpointed", "succeeded"}
    assert {line["trace_id"] for line in applied} == {TRACE}


def test_who_brings_no_trace_begins_one_and_two_jobs_have_two(
    services: Services, hand_in: Callable[..., str]
):
    plain, odd, given = hand_in(), hand_in({"traceparent": "nonsense"}), hand_in(GIVEN)
    found = [trace_of(services, job_id) for job_id in (plain, odd, given)]
    assert found[2] == TRACE
    assert None not in found
    assert len(set(found)) == 3


def test_a_fork_belongs_to_the_request_that_made_it(
    services: Services, client: FlaskClient, hand_in: Callable[..., str]
):
    job_id = hand_in(GIVEN)
    Workshop(services).run_through(job_id, every=2)
    other = {"traceparent": f"00-{'a' * 32}-00f067aa0ba902b7-01"}
    fork = client.post(f"{JOBS}/{job_id}/fork", json={"step": 2}, headers=other)
    assert fork.status_code in (200, 202), fork.text
    assert trace_of(services, fork.json["id"]) == "a" * 32

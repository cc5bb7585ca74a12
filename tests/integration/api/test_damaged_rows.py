"""A row that cannot be read is shown as far as it goes, and hides no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.support.workshop import Workshop
from web.services import Services

JOBS = "/api/v1/jobs"
JSON_COLUMNS = ("options", "metrics", "outputs", "losses", "weights", "error", "origin")
VALUES = ("{", "", "[1]", '"x"', "null", "7", '{"steps": "many", "size": -4}')
OTHERS = [
    ("created_at", "nonsense"),
    ("completed_at", "0"),
    ("queued_at", "nonsense"),
    ("version", "x"),
    ("attempt", "x"),
    ("step", "x"),
    ("step", -5),
    ("priority", "x"),
    ("max_attempts", "x"),
    ("run_timeout_seconds", "x"),
    ("run_timeout_seconds", float("inf")),
    ("resumed_from_step", "x"),
    ("status_reason", 7),
    ("status", "promoted"),
]


@pytest.fixture
def put(services: Services) -> Callable[..., None]:
    def do(job_id: str, column: str, value: object) -> None:
        with services.backend.database.write() as session:
            session.execute(
                text(f"UPDATE jobs SET {column} = :value WHERE id = :id"),
                {"value": value, "id": job_id},
            )

    return do


@pytest.fixture
def finished(submit: Callable[..., dict], workshop: Workshop) -> str:
    job_id: str = submit()["id"]
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 5)
    workshop.succeed(job_id)
    return job_id


def look(client: FlaskClient, job_id: str, *others: str, has_stream: bool = True) -> dict:
    """Look at a damaged job and at all lists; return how it is shown."""
    listed = client.get(JOBS)
    assert listed.status_code == 200, listed.text
    assert {job["id"] for job in listed.json["jobs"]} == {job_id, *others}
    for path in ("/", "/parts/gallery", "/workers", "/api/v1/queue", "/api/v1/workers"):
        answer = client.get(path, headers={"Accept": "text/html,application/json"})
        assert answer.status_code in (200, 404), (path, answer.text)
    for path in ("attempts", "checkpoints", *(["events"] if has_stream else [])):
        assert client.get(f"{JOBS}/{job_id}/{path}").status_code < 500, path
    page = client.get(f"/jobs/{job_id}", headers={"Accept": "text/html"})
    assert page.status_code == 200, page.text
    shown = client.get(f"{JOBS}/{job_id}")
    assert shown.status_code == 200, shown.text
    found: dict = shown.json
    return found


@pytest.mark.parametrize("column", JSON_COLUMNS)
def test_a_finished_job_with_whatever_in_a_column(client, submit, put, finished, column):
    other = submit()["id"]
    for value in VALUES:
        put(finished, column, value)
        shown = look(client, finished, other)
        assert shown["status"] == "succeeded"
        assert shown["progress"]["steps"] >= 0


@pytest.mark.parametrize(("column", "value"), OTHERS, ids=str)
def test_whatever_in_the_other_columns(client, submit, put, finished, column, value):
    other = submit()["id"]
    put(finished, column, value)
    look(client, finished, other, has_stream=column != "status")


@pytest.mark.parametrize("column", JSON_COLUMNS)
def test_a_queued_and_a_running_job(client, submit, workshop, put, column):
    queued, running = submit()["id"], submit()["id"]
    workshop.claim(running)
    workshop.progress(running, 5)
    for value in VALUES[:4]:
        for job_id, other in ((queued, running), (running, queued)):
            put(job_id, column, value)
            look(client, job_id, other)


def test_what_cannot_be_read_is_named(client, put, finished):
    put(finished, "metrics", "{")
    shown = look(client, finished)
    assert shown["error"]["code"] == "job_unreadable"
    assert "metrics" in shown["error"]["detail"]
    assert len(shown["outputs"]) == 1


@pytest.mark.parametrize("table", ["job_events", "job_checkpoints", "job_attempts"])
def test_a_history_that_cannot_be_read_hides_no_other_job(client, services, submit, finished, table):
    other = submit()["id"]
    column = {"job_events": "data", "job_checkpoints": "losses", "job_attempts": "started_at"}[table]
    for value in ("{", "[1]", "null"):
        with services.backend.database.write() as session:
            session.execute(text(f"UPDATE {table} SET {column} = :value"), {"value": value})
        assert client.get(JOBS).status_code == 200
        assert client.get("/", headers={"Accept": "text/html"}).status_code == 200
        assert client.get(f"{JOBS}/{other}").status_code == 200
        assert client.get(f"{JOBS}/{finished}").status_code == 200


def test_estimates_leave_out_what_cannot_be_read(client, submit, workshop, put, finished):
    good = submit()["id"]
    workshop.claim(good)
    workshop.succeed(good)
    for column, values in (
        ("metrics", ("{", "[]", "null", '{"run_seconds": "long"}', '{"run_seconds": 1e300}')),
        ("options", ("{", "[]", "null", '{"steps": -1}', '{"steps": 99999999999999999999999}')),
    ):
        for value in values:
            put(finished, column, value)
            answer = client.get("/api/v1/estimate")
            assert answer.status_code == 200, answer.text
            assert client.get("/new", headers={"Accept": "text/html"}).status_code == 200

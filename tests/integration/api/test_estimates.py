"""Estimates over HTTP: from what this service measured, and from nothing else."""

from __future__ import annotations

import pytest

from shared.clock import utc_now
from shared.redis.workers import WorkerBeat
from web.db.models import Job
from web.jobs.estimates import measured_runs

ESTIMATE = "/api/v1/estimate"
JOBS = "/api/v1/jobs"


@pytest.fixture
def connect(services):
    def do(device: str = "cuda:0") -> None:
        now = utc_now()
        registry = services.backend.redis.workers
        registry.beat(WorkerBeat(worker_id="gpu-a", device=device, weights="w", started_at=now, at=now))

    return do


@pytest.fixture
def finish(submit, workshop, services):
    """Carry a job out, and write down how it came about."""

    def do(**columns: object) -> None:
        job_id = submit()["id"]
        workshop.claim(job_id)
        workshop.succeed(job_id)
        with services.backend.database.write() as session:
            job = session.get(Job, job_id)
            for name, value in columns.items():
                setattr(job, name, value)

    return do


def test_nothing_is_said_before_anything_is_measured(client):
    estimate = client.get(ESTIMATE).json
    assert (estimate["seconds"], estimate["low"], estimate["high"], estimate["count"]) == (
        None,
        None,
        None,
        0,
    )
    assert "nothing measured yet" in estimate["message"]
    assert "no worker is connected" in estimate["queue"]["message"]


def test_the_same_job_again_takes_as_long(client, connect, finish):
    finish()
    connect()
    query = {"content_width": 64, "content_height": 48, "style_width": 48, "style_height": 64}
    estimate = client.get(ESTIMATE, query_string=query).json
    assert (estimate["seconds"], estimate["count"]) == (12.5, 1)
    assert estimate["low"] < 12.5 < estimate["high"]
    assert estimate["message"].startswith("about 13 s")
    assert estimate["queue"]["message"] == "a worker is free: it starts at once"
    twice = client.get(ESTIMATE, query_string={**query, "steps": 200}).json
    assert twice["seconds"] == pytest.approx(25, rel=0.02)
    draft = client.get(ESTIMATE, query_string={**query, "preset": "quick"}).json
    assert draft["seconds"] == pytest.approx(5, rel=0.02)
    larger = client.get(ESTIMATE, query_string={**query, "content_width": 640}).json
    assert larger["seconds"] > 12.5


@pytest.mark.parametrize(
    "columns",
    [
        {"kind": "draft"},
        {"status_reason": "reused"},
        {"origin": {"job_id": "x", "step": 50, "key": "k", "sha256": "s"}},
        {"attempt": 2},
        {"resumed_from_step": 50},
        {"status": "failed"},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_what_was_not_run_as_a_whole_says_nothing(services, finish, columns):
    finish(**columns)
    with services.backend.database.read() as session:
        assert measured_runs(session) == []


def test_jobs_in_line_are_told(client, connect, finish, submit, workshop):
    finish()
    connect()
    workshop.claim(submit()["id"])
    for _ in range(3):
        submit()
    queue = client.get(ESTIMATE).json["queue"]
    assert (queue["position"], queue["eligible_workers"]) == (4, 1)
    assert queue["message"] == "3 jobs ahead, about 50 s (37 s to 1 min)"


def test_a_job_that_is_only_checked_is_estimated_too(client, parts, finish):
    finish()
    answer = client.post(f"{JOBS}?validate_only=true", data=parts()).json
    assert answer["estimate"]["seconds"] == 12.5
    assert answer["estimate"]["queue"]["position"] == 1


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ({"steps": "0"}, 422, "/options/steps"),
        ({"steps": "many"}, 422, "/options/steps"),
        ({"size": "5000"}, 422, "/options/size"),
        ({"preset": "none"}, 422, "/options/preset"),
        ({"content_width": "64"}, 400, "/content_height"),
        ({"style_width": "-1", "style_height": "4"}, 400, "/style_width"),
        ({"stepz": "1"}, 400, "/stepz"),
    ],
)
def test_refusals_name_the_parameter(client, query, status, pointer):
    answer = client.get(ESTIMATE, query_string=query)
    assert answer.status_code == status
    assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]


def test_ten_thousand_jobs_cost_little(client, services, finish):
    finish()
    with services.backend.database.write() as session:
        job = session.query(Job).one()
        values = {column.key: getattr(job, column.key) for column in Job.__mapper__.column_attrs}
        copies = [{**values, "id": f"{values['id'][:-5]}{number:05}"} for number in range(10_000)]
        session.execute(Job.__table__.insert(), copies)
    with services.backend.database.read() as session:
        assert len(measured_runs(session, limit=50)) == 50
    assert client.get(ESTIMATE).json["count"] == 12

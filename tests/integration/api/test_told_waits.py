"""The wait that is told: by the running job's own speed, and stable enough to be waited on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.redis.workers import WorkerBeat
from tests.support.statements import noted_statements
from web.db.models import Job

JOBS = "/api/v1/jobs"


@pytest.fixture
def connect(services, workshop):
    """Let the workshop's worker be connected."""

    def do(job: dict) -> None:
        name = job["attempt"]["worker_id"]
        at = utc_now()
        services.backend.redis.workers.beat(
            WorkerBeat(worker_id=name, device="cpu", weights="untrained", started_at=at, at=at)
        )

    return do


def test_the_running_jobs_own_time_left_is_told(client, submit, workshop, connect):
    done = submit()
    workshop.claim(done["id"])
    workshop.succeed(done["id"])  # 12.5 s for 100 steps: nothing of the like
    busy = submit(options={"steps": 1000})
    workshop.claim(busy["id"])
    workshop.progress(busy["id"], 520)  # at 4 steps a second
    connect(client.get(busy["urls"]["self"]).json)
    waiting = submit()
    told = client.get(waiting["urls"]["self"]).json["queue"]
    assert told["ahead_seconds"] == pytest.approx(480 / 4, abs=1)
    assert told["low_seconds"] < 120 < told["high_seconds"]
    queue = client.get("/api/v1/queue").json
    assert queue["backlog_seconds"] == pytest.approx(told["ahead_seconds"] + 12.5, abs=0.2)
    assert queue["backlog_low_seconds"] < queue["backlog_seconds"] < queue["backlog_high_seconds"]
    estimate = client.get("/api/v1/estimate").json["queue"]
    assert estimate["ahead_seconds"] == queue["backlog_seconds"]
    assert "1 job ahead, about 2 min" in estimate["message"]
    assert "in 2 min" in client.get("/workers", headers={"Accept": "text/html"}).text


def test_a_step_of_the_job_ahead_is_no_news_but_much_progress_is(client, submit, workshop, connect):
    busy = submit(options={"steps": 1000})
    workshop.claim(busy["id"])
    workshop.progress(busy["id"], 500)
    connect(client.get(busy["urls"]["self"]).json)
    url = submit()["urls"]["self"]
    first = client.get(url)
    workshop.progress(busy["id"], 501)
    again = client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    workshop.progress(busy["id"], 900)
    later = client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert later.status_code == 200
    assert later.json["queue"]["ahead_seconds"] < first.json["queue"]["ahead_seconds"] / 2


def told_of(client):
    queue = client.get("/api/v1/queue").json
    return queue["told_waits"], queue["told_waits_kept"]


def test_the_error_of_what_was_told_is_kept_as_a_number(client, submit, services, bench):
    assert told_of(client) == (0, None)
    at = utc_now()
    services.backend.redis.workers.beat(
        WorkerBeat(worker_id="gpu-a", device="cpu", weights="untrained", started_at=at, at=at)
    )
    first = submit(options={"steps": 2})  # told to begin at once
    assert client.get(first["urls"]["self"]).json["queue"]["high_seconds"] == 0
    bench.work(first["id"])
    assert told_of(client) == (1, 1.0)
    late = submit(options={"steps": 2})
    with services.backend.database.write() as session:
        row = session.get(Job, late["id"])
        row.created_at = row.queued_at = row.created_at - timedelta(minutes=1)
    bench.work(late["id"])
    assert told_of(client) == (2, 0.5)
    with services.backend.database.read() as session:
        kept = session.get(Job, late["id"]).metrics
    assert kept["told_wait"] == {"likely": 0.0, "low": 0.0, "high": 0.0, "is_kept": False}
    assert kept["queue_seconds"] >= 60


def test_who_was_told_nothing_or_paused_is_not_counted(client, submit, services, bench):
    alone = submit(options={"steps": 2})  # no worker: nobody knows
    bench.work(alone["id"])
    at = utc_now()
    services.backend.redis.workers.beat(
        WorkerBeat(worker_id="gpu-a", device="cpu", weights="untrained", started_at=at, at=at)
    )
    paused = submit(options={"steps": 2})
    bench.post(paused["id"], "pause")
    bench.post(paused["id"], "resume")
    bench.work(paused["id"])
    assert told_of(client) == (0, None)


def test_a_fork_is_told_and_a_follower_is_not(client, submit, services, bench):
    parent = submit(options={"steps": 2, "checkpoint_every": 1})
    bench.work(parent["id"])
    at = utc_now()
    services.backend.redis.workers.beat(
        WorkerBeat(worker_id="gpu-a", device="cpu", weights="untrained", started_at=at, at=at)
    )
    fork = client.post(f"{parent['urls']['self']}/fork", json={"step": 1, "options": {"steps": 3}}).json
    leader = submit(options={"steps": 5}, reuse="true")
    follower = submit(options={"steps": 5}, reuse="true")
    assert follower["leader_id"] == leader["id"]
    with services.backend.database.read() as session:
        assert "told_wait" in session.get(Job, fork["id"]).metrics
        assert "told_wait" in session.get(Job, leader["id"]).metrics
        assert "told_wait" not in session.get(Job, follower["id"]).metrics


#: What is read of all that run and wait, and of the last that ended.
_OF_THE_QUEUE = ("jobs.options, jobs.step", "SELECT count(*) AS", "SELECT jobs.completed_at")


def test_looking_at_a_queued_job_does_not_read_the_queue_each_time(client, submit, services):
    jobs = [submit() for _ in range(5)]
    services.backend.shared.stale_seconds = 3600
    client.get(jobs[0]["urls"]["self"])
    with noted_statements() as noted:
        for job in jobs * 4:
            assert client.get(job["urls"]["self"]).json["queue"]["position"] == jobs.index(job) + 1
    assert [one for one in noted if any(part in one for part in _OF_THE_QUEUE)] == []
    assert len(noted) <= 20 * 7  # begin, the job, its labels, its place (two), the end


def test_what_this_process_changes_shows_at_once_in_what_is_told(
    client, submit, services, connect, workshop, monkeypatch
):
    monkeypatch.setattr("web.jobs.line._AROUND_SECONDS", 0)  # a worker that connects is no change of its own
    done = submit()
    workshop.claim(done["id"])
    workshop.succeed(done["id"])  # 12.5 s
    connect({"attempt": {"worker_id": "gpu-a"}})
    services.backend.shared.stale_seconds = 3600
    jobs = [submit() for _ in range(3)]
    told = [client.get(job["urls"]["self"]).json["queue"]["ahead_seconds"] for job in jobs]
    assert told == pytest.approx([0, 12.5, 25], abs=0.2)
    client.post(jobs[1]["urls"]["cancel"])
    assert client.get(jobs[2]["urls"]["self"]).json["queue"]["ahead_seconds"] == pytest.approx(12.5, abs=0.2)


def test_who_joins_a_long_line_does_not_have_it_read(client, submit, services, workshop, monkeypatch):
    """His wait rests on his place, and on those far ahead of him; a short line is read whole, as it is."""
    monkeypatch.setattr("web.jobs.line._MOST_READ", 3)
    services.backend.shared.stale_seconds = 3600
    workshop.connect()
    assets = submit()["input"]

    def ask(number):
        body = {part: assets[part]["asset_id"] for part in ("content", "style")}
        with noted_statements() as noted:
            answer = client.post(JOBS, json={**body, "options": {"steps": number}})
        assert answer.status_code == 202, answer.text
        return answer.json["queue"]["position"], noted

    reads = {}
    for number in range(2, 9):
        position, noted = ask(number)
        assert position == number
        reads[position] = len([one for one in noted if _OF_THE_QUEUE[0] in one])
    assert all(reads[position] == 2 for position in (2, 3, 4))  # what runs, and what waits
    assert all(reads[position] == 0 for position in (6, 7, 8))
    assert len([one for one in noted if not one.startswith("BEGIN")]) <= 14

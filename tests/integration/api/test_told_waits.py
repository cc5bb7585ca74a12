"""The wait that is told: by the running job's own speed, and stable enough to be waited on."""

from __future__ import annotations

import pytest

from shared.clock import utc_now
from shared.redis.workers import WorkerBeat

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

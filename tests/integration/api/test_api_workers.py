"""Workers, queue and drain over HTTP, with beats as nodes send them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from shared.clock import utc_now
from shared.protocol import PROTOCOL
from shared.redis.workers import WorkerBeat, WorkerRegistry, WorkerState
from shared.settings import Settings
from tests.support.installation import names_of
from web.app import create_app
from web.jobs.estimates import START_ONE
from web.services import services_of

API = "/api/v1"
QUEUE = f"{API}/queue"


def beat(worker_id: str = "gpu-a", **changes: object) -> WorkerBeat:
    now = utc_now()
    facts = {"device": "cuda:0", "weights": "untrained", "protocol": PROTOCOL, "started_at": now, "at": now}
    return WorkerBeat(worker_id=worker_id, **{**facts, **changes})


@pytest.fixture
def registry(redis_client, settings) -> WorkerRegistry:
    return WorkerRegistry(redis_client, names_of(settings))


def test_workers_are_listed_by_id(client, registry):
    empty = client.get(f"{API}/workers").json
    assert empty.pop("room").keys() == {"storage", "database", "min_free_bytes"}
    assert empty == {
        "workers": [],
        "message": f"no worker is connected; {START_ONE}",
    }
    registry.beat(beat("b", state=WorkerState.STARTING))
    registry.beat(beat("a", host="machine", notice="never trained"))
    listed = client.get(f"{API}/workers").json
    assert [(worker["id"], worker["state"]) for worker in listed["workers"]] == [
        ("a", "idle"),
        ("b", "starting"),
    ]
    assert listed["workers"][0]["host"] == "machine"
    assert listed["workers"][0]["notice"] == "never trained"
    assert listed["message"] is None


def test_the_age_of_a_heartbeat_does_not_depend_on_the_clock_of_its_worker(client, registry):
    registry.beat(beat("ahead", at=utc_now() + timedelta(minutes=5)))
    registry.beat(beat("behind", at=utc_now() - timedelta(minutes=5)))
    ages = [one["heartbeat_age_seconds"] for one in client.get(f"{API}/workers").json["workers"]]
    assert all(age < 60 for age in ages), ages


def test_a_drain_may_be_repeated_and_is_heard_by_this_run_alone(client, registry, problem_of):
    first = beat()
    registry.beat(first)
    url = client.get(f"{API}/workers").json["workers"][0]["urls"]["drain"]
    for _ in range(2):
        drained = client.post(url)
        assert (drained.status_code, drained.json["state"]) == (200, "draining")
    assert registry.is_drain_asked(first)
    listed = client.get(f"{API}/workers").json
    assert listed["workers"][0]["state"] == "draining"
    assert "the only worker is draining" in listed["message"]
    assert client.get(QUEUE).json["workers"] == 0

    again = beat(started_at=first.started_at + timedelta(seconds=1))
    registry.beat(again)
    assert not registry.is_drain_asked(again)
    assert client.get(f"{API}/workers").json["workers"][0]["state"] == "idle"

    registry.leave("gpu-a")
    problem_of(client.post(url), 404, "not_found")


def test_a_job_of_a_service_whose_only_worker_drains_says_so(client, registry, submit):
    registry.beat(beat())
    client.post(f"{API}/workers/gpu-a/drain")
    queue = client.get(submit()["urls"]["self"]).json["queue"]
    assert queue["eligible_workers"] == 0
    assert queue["message"] == client.get(f"{API}/queue").json["message"]
    assert "the only worker is draining" in queue["message"]


@pytest.mark.parametrize(
    ("path", "words", "status"),
    [
        ("workers/nobody/drain", {}, 404),
        ("workers/gpu-a/drain", {"json": {"now": True}}, 400),
        ("workers/gpu-a/drain", {"query_string": {"force": 1}}, 400),
    ],
)
def test_refusals(client, registry, path, words, status):
    registry.beat(beat())
    response = client.post(f"{API}/{path}", **words)
    assert response.status_code == status
    assert response.json["detail"]
    assert client.get(f"{API}/workers").json["workers"][0]["state"] == "idle"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worker_id=st.text(min_size=1, max_size=40))
def test_any_name_is_a_worker_or_not_found(client, registry, worker_id):
    path = worker_id.replace("/", "%2F").replace("?", "%3F")
    response = client.post(f"{API}/workers/{path}/drain")
    assert response.status_code in (308, 404, 405), response.text


def test_the_queue_tells_followers_apart(client, submit, workshop, registry):
    registry.beat(beat())
    nothing = client.get(QUEUE).json
    assert (nothing["depth"], nothing["oldest_age_seconds"], nothing["backlog_seconds"]) == (0, None, 0.0)
    running, paused = submit(), submit()
    workshop.claim(running["id"])
    client.post(paused["urls"]["pause"])
    leader = submit(reuse="true", options={"steps": 50})
    follower = submit(reuse="true", options={"steps": 50})
    assert follower["leader_id"] == leader["id"]
    canceling = submit()
    workshop.claim(canceling["id"])
    client.post(canceling["urls"]["cancel"])
    queue = client.get(QUEUE).json
    assert {name: queue[name] for name in ("depth", "waiting_for_others", "running", "paused")} == {
        "depth": 1,
        "waiting_for_others": 1,
        "running": 2,
        "paused": 1,
    }
    assert 0 <= queue["oldest_age_seconds"] < 60
    assert (queue["workers"], queue["message"], queue["backlog_seconds"]) == (1, None, None)
    done = submit()
    workshop.claim(done["id"])
    workshop.succeed(done["id"])
    assert (
        client.get(QUEUE).json["backlog_seconds"] == 18.8
    )  # half of the running one, and the one that waits


def test_a_job_that_came_back_has_waited_since_then(client, submit, services):
    job = submit()
    with services.backend.database.write() as session:
        session.execute(
            text("UPDATE jobs SET created_at = '2020-01-01 00:00:00' WHERE id = :id"), {"id": job["id"]}
        )
    assert client.get(QUEUE).json["oldest_age_seconds"] < 60


def test_without_redis_the_counts_are_right_and_a_drain_is_refused(tmp_path, problem_of):
    app = create_app(Settings(redis_url="redis://127.0.0.1:1/0", data_dir=tmp_path / "data"))
    client = app.test_client()
    listed = client.get(f"{API}/workers").json
    assert listed["workers"] is None
    assert listed["message"] == "Redis does not answer; jobs are kept, and start when it is back"
    queue = client.get(QUEUE).json
    assert (queue["depth"], queue["workers"], queue["backlog_seconds"]) == (0, None, None)
    assert "Redis does not answer" in queue["message"]
    problem_of(client.post(f"{API}/workers/gpu-a/drain"), 503, "redis_unavailable")
    services_of(app).close()

"""A control that is down, stuck or failing is told by /readyz, the queue, a job and the workers' page."""

from __future__ import annotations

import pytest

from shared.settings import Settings
from tests.support.control import pretend_control
from web.app import create_app
from web.services import services_of

DOWN = "control is not running: jobs are kept, and none starts; start it with: atelier control"
HTML = {"Accept": "text/html"}


@pytest.fixture
def redis_of(services):
    return services.backend.redis


def down(redis) -> None:
    redis.control.leave()


def stuck(redis) -> None:
    pretend_control(redis, part="reports", part_seconds=75)


def failing(redis) -> None:
    pretend_control(redis, faults={"dispatch": "Redis does not answer."})


def damaged(redis) -> None:
    redis.client.set(redis.names.key("control"), b"\xff{")


STATES = {
    "down": (down, DOWN),
    "stuck": (stuck, "control has been at 'reports' for 75 s and may be stuck"),
    "failing": (failing, "control fails at 'dispatch': Redis does not answer."),
    "a beat that is none": (damaged, DOWN),
}


@pytest.mark.parametrize("name", STATES)
def test_it_is_told_everywhere(client, redis_of, workshop, submit, name):
    workshop.connect()
    spoil, words = STATES[name]
    job = submit()
    assert job["queue"]["message"] is None
    assert client.get("/readyz").json["checks"]["control"] == {"ok": True, "detail": None}
    spoil(redis_of)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["ready"], ready.json["degraded"]) == (200, True, True)
    assert ready.json["checks"]["control"]["ok"] is False
    told = [
        ready.json["checks"]["control"]["detail"],
        client.get("/api/v1/queue").json["message"],
        client.get("/api/v1/workers").json["message"],
        client.get(job["urls"]["self"]).json["queue"]["message"],
        submit()["queue"]["message"],
    ]
    for sentence in told:
        assert sentence.startswith(words), sentence
    page = client.get("/workers", headers=HTML).text.replace("&#39;", "'")
    shown = words[0].upper() + words[1:]
    assert "hidden" not in page[page.index("data-message") : page.index(shown)]


def test_what_keeps_no_job_waiting_is_told_by_readyz_alone(client, redis_of, workshop):
    workshop.connect()
    pretend_control(redis_of, faults={"prune": "The storage cannot be read or written."})
    ready = client.get("/readyz").json
    assert (ready["degraded"], ready["checks"]["control"]["ok"]) == (True, False)
    assert "'prune'" in ready["checks"]["control"]["detail"]
    assert client.get("/api/v1/queue").json["message"] is None


def test_the_page_without_a_worker_tells_of_control(client, redis_of):
    """Without a worker the page has its own words; a control that is down is to be seen all the same."""
    down(redis_of)
    page = client.get("/workers", headers=HTML).text
    assert "hidden" not in page[page.index("data-message") : page.index(DOWN[0].upper() + DOWN[1:])]


def test_without_redis_nobody_knows(tmp_path):
    app = create_app(Settings(redis_url="redis://127.0.0.1:1/0", data_dir=tmp_path / "data"))
    ready = app.test_client().get("/readyz")
    assert ready.status_code == 200
    assert [name for name, check in ready.json["checks"].items() if not check["ok"]] == ["redis", "control"]
    assert "Redis does not answer" in ready.json["checks"]["control"]["detail"]
    services_of(app).close()

"""A scrape while a part of the service is away: the rest is told, and what is missing is named."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, StorageUnavailable
from shared.redis import Coordination
from shared.settings import Settings
from tests.support.app import change_backend
from tests.support.ports import free_port
from tests.support.scrape import read_scrape
from web.access.tokens import Scope, create_token
from web.services import services_of

OTHERS = ("database", "redis", "outlook")


def sources(found) -> dict[str, float]:
    return {dict(labels)["source"]: value for labels, value in found["atelier_source_up"].items()}


def test_without_redis_the_database_is_told(app, client, submit, services, settings: Settings):
    submit()
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    redis = Coordination.connect(away, services.backend.redis.names, reply_seconds=1, tries_again=False)
    change_backend(app, redis=redis)
    services_of(app).checkup._seconds = 60
    answer = client.get("/metrics")
    assert answer.status_code == 200
    found = read_scrape(answer.text)
    assert sources(found) | {"outlook": 1} == {"database": 1, "redis": 0, "storage": 1, "outlook": 1}
    assert sum(found["atelier_queue_depth"].values()) == 1
    assert "atelier_control_up" not in found  # nobody knows
    assert "atelier_workers" not in found


def test_without_a_database_redis_is_told_to_who_was_known(
    app, client, services, workshop, settings, monkeypatch
):
    workshop.connect()
    services.gate.stale_seconds = 0
    with services.backend.database.write() as session:
        made = create_token(
            session, name="p", scopes={Scope.MANAGE}, caller="p", expires_at=None, now=utc_now()
        )
    known, other = ({"Authorization": f"Bearer {one}"} for one in (made.text, made.text[:-1] + "_"))
    assert client.get("/metrics", headers=known).status_code == 200
    services.metrics.fresh_seconds = 0

    def fail(*_: object) -> None:
        raise DatabaseUnavailable("the disk is gone")

    monkeypatch.setattr(services.backend.database, "_require_same_file", fail)
    answer = client.get("/metrics", headers=known)
    assert answer.status_code == 200, answer.text
    found = read_scrape(answer.text)
    assert sources(found) == {"database": 0, "redis": 1, "storage": 1, "outlook": 0}
    assert found["atelier_control_up"] == {(): 1}
    assert "atelier_queue_depth" not in found
    assert "atelier_claims_total" not in found
    # Nobody else gets in by that, and nothing else is answered so.
    assert client.get("/metrics", headers=other).status_code == 503
    assert client.get("/api/v1/jobs", headers=known).status_code == 503


def test_who_was_refused_before_is_refused_without_a_database(client, services, monkeypatch):
    services.gate.stale_seconds = 0
    with services.backend.database.write() as session:
        made = create_token(
            session, name="p", scopes={Scope.READ}, caller="p", expires_at=None, now=utc_now()
        )
    headers = {"Authorization": f"Bearer {made.text}"}
    wrong = {"Authorization": f"Bearer {made.text[:-1]}_"}
    assert client.get("/metrics", headers=headers).status_code == 403
    assert client.get("/metrics", headers=wrong).status_code == 401

    def fail(*_: object) -> None:
        raise DatabaseUnavailable("the disk is gone")

    monkeypatch.setattr(services.backend.database, "_require_same_file", fail)
    assert client.get("/metrics", headers=headers).status_code == 403
    assert client.get("/metrics", headers=wrong).status_code == 401


def test_who_was_known_is_forgotten_after_an_hour(services):
    gate, clock = services.gate, [0.0]
    gate._monotonic = lambda: clock[0]
    assert gate.identify({}).token_id is None
    clock[0] = 3599
    assert gate.identify_from_memory({}, within_seconds=3600)
    clock[0] = 3601
    with pytest.raises(DatabaseUnavailable):
        gate.identify_from_memory({}, within_seconds=3600)


def test_without_a_storage_its_room_is_left_out(client, services, monkeypatch):
    def fail() -> None:
        raise StorageUnavailable("it is not mounted")

    monkeypatch.setattr(services.backend.storage, "room", fail)
    found = read_scrape(client.get("/metrics").text)
    assert sources(found) == {"database": 1, "redis": 1, "storage": 0, "outlook": 1}
    assert {dict(labels)["part"] for labels in found["atelier_disk_free_bytes"]} == {"database"}


def test_a_source_that_hangs_is_left_out_and_not_asked_twice(client, services, monkeypatch):
    services.metrics.fresh_seconds = 0
    services.checkup._seconds = 0.2
    asked, release = [], threading.Event()

    def hang() -> None:
        asked.append(1)
        release.wait(20)

    monkeypatch.setattr(services.backend.storage, "room", hang)
    try:
        for _ in range(3):
            found = read_scrape(client.get("/metrics").text)
            assert sources(found)["storage"] == 0
        assert len(asked) == 1
    finally:
        release.set()


def test_a_source_that_is_slow_is_told_as_it_was_for_a_minute(client, services, monkeypatch):
    services.metrics.fresh_seconds = 0
    clock = [0.0]
    monkeypatch.setattr(services.metrics, "_monotonic", lambda: clock[0])
    assert sources(read_scrape(client.get("/metrics").text))["storage"] == 1
    services.checkup._seconds = 0.2
    release = threading.Event()
    monkeypatch.setattr(services.backend.storage, "room", lambda: release.wait(60))
    try:
        for at, is_told in ((60, 1), (61, 0)):
            clock[0] = at
            found = read_scrape(client.get("/metrics").text)
            assert sources(found)["storage"] == is_told
        assert found["atelier_source_age_seconds"].keys() == {(("source", name),) for name in OTHERS}
    finally:
        release.set()


def test_what_takes_long_is_read_seldom(client, services, monkeypatch):
    clock, asked = [0.0], []

    def take_long() -> int:
        asked.append(clock[0])
        clock[0] += 1
        return 0

    monkeypatch.setattr(services.metrics, "_monotonic", lambda: clock[0])
    monkeypatch.setattr(services.backend.redis.set_aside, "count", take_long)
    while clock[0] < 60:
        client.get("/metrics")
        clock[0] += 2
    assert asked == pytest.approx([0, 20, 40], abs=4)


def test_however_many_scrape_it_is_read_once_in_five_seconds(client, services, monkeypatch):
    asked = []
    monkeypatch.setattr(services.backend.redis.set_aside, "count", lambda: asked.append(1) or 0)
    clock = [0.0]
    monkeypatch.setattr(services.metrics, "_monotonic", lambda: clock[0])
    for at in (0, 1, 4.9):
        clock[0] = at
        assert client.get("/metrics").status_code == 200
    assert len(asked) == 1
    clock[0] = 5
    client.get("/metrics")
    assert len(asked) == 2


def test_a_total_of_another_release_keeps_nothing_back(client, services):
    with services.backend.database.write() as session:
        for name, labels in (
            ("claims_total", '{"colour": "blue"}'),
            ("later_total", "{}"),
            ("steps_total", "["),
        ):
            session.execute(
                text("INSERT INTO metric_totals VALUES (:name, :labels, 3)"), {"name": name, "labels": labels}
            )
    found = read_scrape(client.get("/metrics").text)
    assert set(found["atelier_claims_total"].values()) == {0}
    assert "atelier_later_total" not in found

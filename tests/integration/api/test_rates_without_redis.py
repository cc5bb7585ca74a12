"""Request rates when Redis is really stopped: nobody is refused or kept waiting; back again, it limits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from shared.clock import utc_now
from shared.settings import Settings
from web.access.tokens import Scope, create_token
from web.app import create_app
from web.cli.local.redis_server import RedisServer
from web.services import services_of

JOBS = "/api/v1/jobs"
#: What has not happened by then does not happen.
_MOST_SECONDS = 30


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that may be stopped."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def settings(settings: Settings, server: RedisServer) -> Settings:
    return settings.model_copy(update={"redis_url": server.url, "max_requests_per_minute": 4})


@pytest.fixture
def anna(services) -> dict[str, str]:
    """The header fields that show a token."""
    with services.backend.database.write() as session:
        made = create_token(
            session, name="a", scopes={Scope.SUBMIT}, caller="anna", expires_at=None, now=utc_now()
        )
    return {"Authorization": f"Bearer {made.text}"}


def test_a_job_is_taken_in_at_once_and_nobody_is_refused(services, client, anna, parts, server):
    server.stop()
    assert client.get(JOBS, headers=anna).status_code == 200
    assert not services.rates.sync()
    for number in range(6):
        body = parts(reuse="false", options={"steps": number + 1})
        assert client.post(JOBS, data=body, headers=anna).status_code == 202
    assert client.get(JOBS, headers=anna).headers["RateLimit"].startswith('"requests";r=0;')


def test_no_request_asks_redis_so_that_none_waits_for_it(services, client, anna, monkeypatch):
    def ask(*_words: object, **_how: object) -> None:
        pytest.fail("a request asked Redis for its rate")

    monkeypatch.setattr(services.rates, "sync", lambda: True)
    monkeypatch.setattr(services.backend.redis.rates, "add", ask)
    for _ in range(4):
        assert client.get(JOBS, headers=anna).status_code == 200
    assert client.get(JOBS, headers=anna).status_code == 429


def test_what_was_counted_is_brought_to_redis_by_itself(services, client, anna, monkeypatch):
    told, add = threading.Event(), services.backend.redis.rates.add

    def note(counts: object) -> object:
        found = add(counts)
        told.set()
        return found

    monkeypatch.setattr(services.backend.redis.rates, "add", note)
    client.get(JOBS, headers=anna)
    assert told.wait(_MOST_SECONDS)
    redis = services.backend.redis
    assert redis.client.get(redis.names.key("rate", "anna")) == "1"


def test_when_it_is_back_it_limits_again(services, client, anna, server):
    server.stop()
    client.get(JOBS, headers=anna)
    assert not services.rates.sync()
    for _ in range(6):
        assert client.get(JOBS, headers=anna).status_code == 200
    server.start()
    assert services.rates.sync()
    assert client.get(JOBS, headers=anna).status_code == 429


def test_a_service_that_is_started_again_goes_on_where_it_was(services, client, anna, settings):
    for _ in range(4):
        client.get(JOBS, headers=anna)
    assert services.rates.sync()
    other: Flask = create_app(settings)
    assert other.test_client().get(JOBS, headers=anna).status_code == 200
    assert services_of(other).rates.sync()
    assert other.test_client().get(JOBS, headers=anna).status_code == 429
    services_of(other).close()

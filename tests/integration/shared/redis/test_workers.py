"""The registry of workers: one live run of each name, and ages by the clock of Redis."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis

from shared.clock import utc_now
from shared.redis.names import Names
from shared.redis.workers import WorkerBeat, WorkerRegistry, WorkerState

NAMES = Names("test")
NOW = utc_now()
KEY = NAMES.key("worker", "a")


def beat(run: str = "one", **changes: object) -> WorkerBeat:
    facts = {"worker_id": "a", "device": "cpu", "weights": "w", "protocol": 2, "started_at": NOW, "at": NOW}
    return WorkerBeat(**{**facts, "run": run, **changes})


@pytest.fixture
def registry(redis_client: redis.Redis) -> WorkerRegistry:
    return WorkerRegistry(redis_client, NAMES, worker_seconds=30)


def test_a_second_run_of_a_name_is_told_of_the_first(registry, redis_client):
    assert registry.beat(beat()) is None
    assert registry.beat(beat(notice="x")) is None
    held = registry.beat(beat("two"))
    assert (held.run, held.notice) == ("one", "x")
    assert [one.run for one in registry.alive()] == ["one"]
    assert redis_client.pttl(KEY) > 29_000


def test_a_dead_run_gives_way_only_if_it_has_not_beaten_since(registry):
    registry.beat(beat())
    first = registry.beat(beat("two"))
    registry.beat(beat())
    again = registry.beat(beat("two"), instead_of=first)
    assert (again.run, again.stamp > first.stamp) == ("one", True)
    assert registry.beat(beat("two"), instead_of=again) is None
    assert registry.beat(beat()).run == "two"


def test_a_run_that_leaves_takes_only_itself_away(registry):
    registry.beat(beat())
    registry.leave("a", run="two")
    assert [one.run for one in registry.alive()] == ["one"]
    registry.leave("a", run="one")
    assert registry.alive() == []


def test_a_drain_reaches_one_run(registry):
    registry.beat(beat())
    assert registry.drain("a").state is WorkerState.DRAINING
    assert registry.is_drain_asked(beat())
    assert not registry.is_drain_asked(beat("two", started_at=NOW + timedelta(seconds=1)))
    assert [one.state for one in registry.alive()] == [WorkerState.DRAINING]


def test_control_of_an_older_release_drains_a_run_by_its_start(registry, redis_client):
    registry.beat(beat())
    redis_client.set(NAMES.key("drain", "a"), NOW.isoformat())
    assert registry.is_drain_asked(beat())
    assert [one.state for one in registry.alive()] == [WorkerState.DRAINING]


def test_the_age_is_told_by_the_clock_of_redis(registry, redis_client):
    registry.beat(beat(at=NOW + timedelta(minutes=5)))
    (fresh,) = registry.alive()
    assert 0 <= fresh.age_seconds < 5
    stored = json.loads(redis_client.get(KEY))
    stored["stamp"] = str(int(stored["stamp"]) - 20 * 10**6)
    redis_client.set(KEY, json.dumps(stored))
    (old,) = registry.alive()
    assert 20 <= old.age_seconds < 25


def test_a_node_of_an_older_release_is_shown_without_an_age_and_drains(registry, redis_client):
    old = beat().model_dump_json(exclude={"run", "process", "stamp", "protocol", "reason"})
    redis_client.set(KEY, old, px=30_000)
    (found,) = registry.alive()
    assert (found.age_seconds, found.run) == (None, "")
    registry.drain("a")
    assert redis_client.get(NAMES.key("drain", "a")) == NOW.isoformat()
    assert registry.beat(beat("two")).run == ""


def test_a_beat_is_a_json_object_that_an_older_release_can_read(registry, redis_client):
    registry.beat(beat(notice='a "quoted} thing'))
    stored = json.loads(redis_client.get(KEY))
    assert (stored["notice"], stored["run"]) == ('a "quoted} thing', "one")
    assert "age_seconds" not in stored


@pytest.mark.parametrize("junk", ["junk", "[]", "7", "{}", '{"worker_id": "a", "run": "other"}', '"}'])
def test_what_is_no_beat_gives_way(registry, redis_client, junk):
    redis_client.set(KEY, junk)
    assert registry.beat(beat()) is None
    assert [one.run for one in registry.alive()] == ["one"]


def test_a_key_of_another_type_gives_way(registry, redis_client):
    redis_client.lpush(KEY, "a list")
    registry.leave("a", run="one")
    redis_client.lpush(KEY, "a list")
    assert registry.beat(beat()) is None
    assert [one.run for one in registry.alive()] == ["one"]


def test_two_installations_may_use_one_name(registry, redis_client):
    other = WorkerRegistry(redis_client, Names("other"))
    assert registry.beat(beat()) is None
    assert other.beat(beat("two")) is None

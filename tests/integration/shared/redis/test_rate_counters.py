"""The counts of requests in a real Redis: added up by all, for the rest of a window, whatever lies there."""

from __future__ import annotations

import pytest

from shared.redis.names import Names
from shared.redis.rates import RateCount, RateCounters

NAMES = Names("test")
KEY = NAMES.key("rate", "anna")


@pytest.fixture
def counters(redis_client) -> RateCounters:
    return RateCounters(redis_client, NAMES)


def test_counts_add_up_by_caller(counters):
    assert [count.used for count in counters.add([("anna", RateCount(3, 60_000))])] == [3]
    both = counters.add([("anna", RateCount(2, 60_000)), ("ben", RateCount(1, 60_000))])
    assert [count.used for count in both] == [5, 1]
    assert counters.add([]) == []


def test_who_begins_says_how_long_it_lasts(counters, redis_client):
    (first,) = counters.add([("anna", RateCount(1, 20_000))])
    assert first.left_ms == 20_000
    (second,) = counters.add([("anna", RateCount(1, 60_000))])
    assert 0 < second.left_ms <= 20_000
    assert 0 < redis_client.pttl(KEY) <= 20_000


def test_another_installation_counts_by_itself(counters, redis_client):
    counters.add([("anna", RateCount(3, 60_000))])
    (other,) = RateCounters(redis_client, Names("other")).add([("anna", RateCount(1, 60_000))])
    assert other.used == 1


@pytest.mark.parametrize("text", ["", "many", "-5", "1.5", "99999999999999999999"])
def test_what_is_no_count_goes(counters, redis_client, text):
    redis_client.set(KEY, text)
    assert counters.add([("anna", RateCount(2, 30_000))]) == [RateCount(2, 30_000)]


def test_what_is_of_another_type_or_never_ends_is_none_of_ours(counters, redis_client):
    redis_client.lpush(KEY, "x")
    assert counters.add([("anna", RateCount(1, 30_000))]) == [RateCount(1, 30_000)]
    redis_client.set(KEY, "7")  # without an end
    assert counters.add([("anna", RateCount(1, 30_000))]) == [RateCount(8, 30_000)]
    redis_client.set(KEY, "7", ex=3600)
    assert counters.add([("anna", RateCount(1, 30_000))]) == [RateCount(8, 30_000)]

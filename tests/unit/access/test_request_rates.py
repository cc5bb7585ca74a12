"""Request rates: who has to wait, what Redis is told, and what holds while it is away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.errors import Quota, RateLimited, RedisUnavailable
from shared.redis.rates import RateCount
from shared.settings import Settings
from web.access.rates import RequestRates, Window, decide_rate, merge_counts, quota_of
from web.access.tokens import OPEN_ACCESS, Access, Scope

ANNA = Access("anna", frozenset({Scope.READ}), token_id="a")
BEN = Access("ben", frozenset({Scope.READ}), token_id="b")
SETTINGS = Settings(max_requests_per_minute=3)


class Shared:
    """Counts as Redis keeps them, for one window of each caller; it may be away."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        self.told: list[dict[str, RateCount]] = []
        self.is_away = False
        self.left_ms: int | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def add(self, counts):
        if self.is_away:
            raise RedisUnavailable
        self.meanwhile()
        self.told.append(dict(counts))
        found = []
        for caller, count in counts:
            self.used[caller] = self.used.get(caller, 0) + count.used
            left_ms = count.left_ms if self.left_ms is None else self.left_ms
            found.append(RateCount(self.used[caller], left_ms))
        return found


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(shared: Shared, clock: Clock) -> RequestRates:
    return RequestRates(shared, SETTINGS, monotonic=clock, has_thread=False)


def use_up(rates: RequestRates, access: Access = ANNA) -> None:
    for _ in range(SETTINGS.max_requests_per_minute):
        rates.require(access)


def test_a_minute_begins_with_its_first_request():
    first = decide_rate(None, 100.0, most=2)
    assert first == (Window(1, 160.0), False)
    assert quota_of(first.window, 100.0, most=2) == Quota("requests", 2, 1, 60, 60)
    second = decide_rate(first.window, 130.5, most=2)
    assert second == (Window(2, 160.0), False)
    assert quota_of(second.window, 130.5, most=2) == Quota("requests", 2, 0, 30, 60)


def test_one_too_many_is_refused_until_the_minute_is_over_and_does_not_count():
    used_up = Window(2, 160.0)
    assert decide_rate(used_up, 159.9, most=2) == (used_up, True)
    assert quota_of(used_up, 159.9, most=2).seconds == 1  # never 0: it would be too early
    assert decide_rate(used_up, 160.0, most=2) == (Window(1, 220.0), False)
    assert (
        quota_of(used_up, 160.0, most=2) == quota_of(None, 160.0, most=2) == Quota("requests", 2, 2, 60, 60)
    )


def test_what_all_have_counted_is_taken_over_and_nothing_is_forgotten():
    window = Window(5, 160.0)
    assert merge_counts(window, 2, RateCount(40, 7000), 150.0) == Window(42, 157.0)
    # Redis has lost what it knew.
    assert merge_counts(window, 2, RateCount(3, 10_000), 150.0) == Window(5, 160.0)


def test_each_caller_has_a_count_of_their_own(rates, clock):
    use_up(rates)
    assert rates.is_used_up(ANNA)
    with pytest.raises(RateLimited, match="'anna' has sent 3 requests within 60 s") as refused:
        rates.require(ANNA)
    assert refused.value.quota == Quota("requests", 3, 0, 60, 60)
    assert not rates.is_used_up(BEN)
    assert rates.require(BEN).left == 2
    clock.now += 60
    assert rates.require(ANNA).left == 2


def test_without_a_limit_nothing_is_counted(rates, shared):
    for _ in range(10):
        assert rates.require(OPEN_ACCESS) is None
        assert rates.count(OPEN_ACCESS) is None
    assert not rates.is_used_up(OPEN_ACCESS)
    assert rates.find_quota(OPEN_ACCESS) is None
    assert rates.sync()
    assert shared.told == []


def test_where_no_token_is_needed_the_limit_is_one_of_its_own(shared, clock):
    settings = Settings(max_open_requests_per_minute=1)
    rates = RequestRates(shared, settings, monotonic=clock, has_thread=False)
    assert rates.require(OPEN_ACCESS).left == 0
    with pytest.raises(RateLimited):
        rates.require(OPEN_ACCESS)


def test_redis_is_told_what_is_new_and_only_that(rates, shared, clock):
    rates.require(ANNA)
    rates.count(ANNA)
    clock.now += 10
    assert rates.sync()
    assert rates.sync()
    rates.require(BEN)
    assert rates.sync()
    assert shared.told == [{"anna": RateCount(2, 50_000)}, {"ben": RateCount(1, 60_000)}]


def test_what_another_process_has_counted_counts_here(rates, shared, clock):
    shared.used["anna"] = 2
    shared.left_ms = 5_000
    rates.require(ANNA)
    rates.sync()
    with pytest.raises(RateLimited) as refused:
        rates.require(ANNA)
    assert refused.value.quota.seconds == 5
    clock.now += 5
    assert rates.require(ANNA).left == 2


def test_while_redis_is_away_nobody_is_refused_and_all_is_counted(rates, shared, clock):
    shared.is_away = True
    rates.require(ANNA)
    assert not rates.sync()
    for _ in range(9):
        rates.require(ANNA)
    assert not rates.is_used_up(ANNA)
    assert rates.find_quota(ANNA).left == 0
    shared.is_away = False
    assert rates.sync()
    assert shared.told == [{"anna": RateCount(10, 60_000)}]
    with pytest.raises(RateLimited):
        rates.require(ANNA)


def test_a_minute_that_is_over_is_forgotten_and_not_told(rates, shared, clock):
    use_up(rates)
    clock.now += 61
    rates.require(BEN)
    rates.sync()
    assert [set(told) for told in shared.told] == [{"ben"}]


def test_what_comes_in_while_redis_is_told_is_told_next(rates, shared):
    shared.meanwhile = lambda: rates.require(ANNA)
    rates.require(ANNA)
    rates.sync()
    assert rates.find_quota(ANNA).left == 1
    shared.meanwhile = lambda: None
    rates.require(ANNA)
    rates.sync()
    assert [told["anna"].used for told in shared.told] == [1, 2]
    assert rates.is_used_up(ANNA)

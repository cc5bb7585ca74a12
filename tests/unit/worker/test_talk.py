"""What a running attempt says to Redis: nothing that its compute has to wait for."""

from __future__ import annotations

import pytest

from shared.errors import RedisUnavailable
from worker.talk import Breaker, decide_quiet_seconds


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def fail(breaker: Breaker, clock: Clock, *, after: float) -> None:
    def ask() -> None:
        with breaker.watched():
            clock.seconds += after
            raise RedisUnavailable("it does not answer")

    with pytest.raises(RedisUnavailable):
        ask()


def test_how_long_it_is_quiet():
    assert [decide_quiet_seconds(lost) for lost in (0.0, 0.01, 0.1, 1.0, 60.0)] == [1.0, 1.0, 2.0, 20.0, 30.0]


def test_after_a_failure_it_is_quiet_for_a_while():
    clock = Clock()
    breaker = Breaker(clock=clock)
    assert not breaker.is_open
    fail(breaker, clock, after=1.0)
    assert breaker.is_open
    clock.seconds += 19.9
    assert breaker.is_open
    clock.seconds += 0.1
    assert not breaker.is_open


def test_it_ends_when_redis_is_heard_elsewhere():
    clock = Clock()
    breaker = Breaker(clock=clock)
    fail(breaker, clock, after=1.0)
    breaker.heal()
    assert not breaker.is_open


def test_other_errors_are_not_about_redis():
    breaker = Breaker()
    with pytest.raises(ValueError, match="a bug"), breaker.watched():
        raise ValueError("a bug")
    assert not breaker.is_open

"""Parts of control's round: one that fails holds up no other, and is tried again ever later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import InvalidOptions, RedisUnavailable, StorageUnavailable
from web.control.alone import FailingJobs
from web.control.parts import Part, run_parts


class Times:
    """A monotonic clock, and how often each part ran."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ran: list[str] = []
        self.error: Exception | None = None

    def seconds(self) -> float:
        return self.now

    def part(self, name: str, *, fails: bool = False, every_seconds: float = 0) -> Part:
        def act() -> None:
            self.ran.append(name)
            if fails and self.error is not None:
                raise self.error

        return Part(name, act, every_seconds=every_seconds)


@pytest.fixture
def times() -> Times:
    return Times()


def run(times: Times, *parts: Part) -> list[str]:
    times.ran.clear()
    for _ in run_parts(parts, clock_seconds=times.seconds, begin=lambda _: None):
        pass
    return list(times.ran)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("job"), RedisUnavailable(), InvalidOptions("x"), RecursionError()]
)
def test_a_part_that_fails_holds_up_no_other(times: Times, error: Exception):
    bad, good = times.part("bad", fails=True), times.part("good")
    times.error = error
    assert run(times, bad, good) == ["bad", "good"]
    assert bad.fault
    assert good.fault is None
    assert bad.failed_for_service is isinstance(error, RedisUnavailable)


def test_an_unknown_error_is_met_again_ever_later(times: Times):
    bad = times.part("bad", fails=True)
    times.error = ValueError("x")
    pauses = []
    for _ in range(7):
        assert run(times, bad) == ["bad"]
        began = times.now
        while not bad.is_due(times.now):
            times.now += 0.5
        pauses.append(times.now - began)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    times.error = None
    assert run(times, bad) == ["bad"]
    assert bad.fault is None
    assert run(times, bad) == ["bad"], "and from the beginning after a success"


def test_a_service_is_asked_again_after_a_second(times: Times):
    bad = times.part("bad", fails=True)
    times.error = StorageUnavailable("no /secret/path")
    assert run(times, bad) == ["bad"]
    assert bad.fault == StorageUnavailable.title()
    assert run(times, bad) == []
    times.now += 1
    assert run(times, bad) == ["bad"]


def test_a_part_runs_at_its_interval_and_may_be_held(times: Times):
    part = times.part("slow", every_seconds=10)
    assert run(times, part) == ["slow"]
    times.now += 9.9
    assert run(times, part) == []
    times.now += 0.1
    assert run(times, part) == ["slow"]
    part.hold(times.now + 50)
    times.now += 49
    assert run(times, part) == []


def test_a_process_that_is_told_to_end_ends(times: Times):
    times.error = None

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Part("part", interrupt).run(times.seconds)


def test_a_failing_job_is_left_alone_for_a_minute():
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    jobs = FailingJobs(clock=lambda: now[0])
    tried = []

    def act() -> bool:
        tried.append(now[0])
        raise ValueError

    for _ in range(3):
        assert jobs.attempt("a", act) is None
    assert jobs.attempt("b", lambda: True) is True
    assert (len(tried), jobs.count) == (1, 1)
    now[0] += timedelta(seconds=61)
    jobs.attempt("a", act)
    now[0] -= timedelta(hours=20)  # the clock was wrong
    jobs.attempt("a", act)
    assert len(tried) == 3
    with pytest.raises(RedisUnavailable):
        jobs.attempt("c", lambda: (_ for _ in ()).throw(RedisUnavailable()))
    assert jobs.attempt("d", lambda: (_ for _ in ()).throw(StorageUnavailable())) is None

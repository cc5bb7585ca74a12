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


class Rows:
    """What a part looks at: its version, and how much there is to do."""

    def __init__(self) -> None:
        self.version: int | None = 1
        self.to_do, self.looks = 0, 0
        self.error: Exception | None = None

    def look(self) -> int:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.to_do

    def looks_in(self, rounds: int, part: Part, times: Times) -> int:
        self.looks = 0
        for _ in range(rounds):
            run(times, part)
        return self.looks


def test_what_had_nothing_to_do_looks_again_when_there_is_something_else_to_look_at(times: Times):
    rows = Rows()
    part = Part("part", rows.look, rests_on=lambda: rows.version)
    assert rows.looks_in(5, part, times) == 1
    rows.version = 2
    assert rows.looks_in(5, part, times) == 1
    rows.version, rows.to_do = 3, 1
    assert rows.looks_in(5, part, times) == 5
    rows.to_do = 0
    assert rows.looks_in(5, part, times) == 1
    rows.version = None  # nobody can tell whether it is something else
    assert rows.looks_in(5, part, times) == 5


def test_what_changes_while_it_is_looked_at_is_looked_at_again(times: Times):
    rows = Rows()

    def look() -> int:
        rows.look()
        rows.version = 2
        return 0

    part = Part("part", look, rests_on=lambda: rows.version)
    assert rows.looks_in(5, part, times) == 2


def test_a_look_that_failed_is_taken_again(times: Times):
    rows = Rows()
    part = Part("part", rows.look, rests_on=lambda: rows.version)
    run(times, part)
    rows.version, rows.error = 2, StorageUnavailable()
    run(times, part)
    assert part.fault
    times.now += 1
    rows.version, rows.error = 1, None
    assert rows.looks_in(5, part, times) == 1
    assert part.fault is None


def test_where_it_cannot_be_told_what_is_looked_at_the_part_fails_alone(times: Times):
    def fail() -> None:
        raise StorageUnavailable

    bad = Part("bad", times.part("bad").run, rests_on=fail)
    assert run(times, bad, times.part("good")) == ["good"]
    assert bad.failed_for_service


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

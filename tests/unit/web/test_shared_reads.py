"""Reads that many ask for at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from web.services import Spread
from web.shared_reads import SharedReads


class Reader:
    """Reads a number that goes up; `now` is the clock."""

    def __init__(self):
        self.now, self.count = 100.0, 0

    def read(self):
        self.count += 1
        return self.count


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def shared(reader):
    return SharedReads(stale_seconds=1, monotonic=lambda: reader.now)


def test_what_was_begun_to_be_read_later_is_enough(shared, reader):
    assert shared.get("a", reader.read, since=99) == 1
    assert shared.get("a", reader.read, since=99.9) == 1
    assert shared.get("a", reader.read, since=100) == 2  # it may have changed after it was begun to be read
    assert shared.get("b", reader.read, since=99) == 3


def test_who_does_not_say_gets_what_is_a_second_old(shared, reader):
    assert shared.get("a", reader.read) == 1
    reader.now += 0.9
    assert shared.get("a", reader.read) == 1
    reader.now += 0.2
    assert shared.get("a", reader.read) == 2
    shared.stale_seconds = 0
    assert shared.get("a", reader.read) == 3


def test_what_is_forgotten_is_read_again(shared, reader):
    shared.forget("a")  # nothing is known of it
    assert shared.get("a", reader.read) == 1
    shared.forget("a")
    reader.now += 0.1
    assert shared.get("a", reader.read) == 2
    assert shared.get("a", reader.read) == 2


def test_what_is_forgotten_while_it_is_read_is_read_again(shared, reader):
    def change_meanwhile():
        reader.now += 0.1
        shared.forget("a")
        reader.now += 0.1
        return reader.read()

    assert shared.get("a", change_meanwhile) == 1
    assert shared.get("a", reader.read) == 2


def test_what_fails_is_read_again(shared, reader):
    def fail():
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            shared.get("a", fail)
    assert shared.get("a", reader.read) == 1


def test_nothing_grows(shared, reader):
    for number in range(1000):
        shared.get(number, reader.read)
        reader.now += 0.1
    assert len(shared) < 100


def test_two_hundred_at_once_read_once():
    shared, began, reads = SharedReads(), threading.Event(), []

    def read():
        reads.append(1)
        began.wait()
        return 7

    with ThreadPoolExecutor(200) as pool:
        found = [pool.submit(shared.get, "a", read, since=0.0) for _ in range(200)]
        began.set()
        assert {one.result() for one in found} == {7}
    assert len(reads) == 1


@pytest.mark.parametrize("count", [2, 7, 50, 200, 500])
def test_spread_numbers_lie_apart(count):
    spread = Spread()
    numbers = sorted(spread.next() for _ in range(count))
    assert numbers[0] == 0
    gaps = [after - before for before, after in zip(numbers, [*numbers[1:], 1.0], strict=True)]
    assert min(gaps) > 0.3 / count
    assert max(gaps) < 2 / count


def test_who_may_have_the_older_one_does_not_wait_for_who_reads_anew():
    shared, began, may_end = SharedReads(stale_seconds=3600), threading.Event(), threading.Event()

    def read_slowly():
        began.set()
        may_end.wait()
        return "new"

    assert shared.get("a", lambda: "old") == "old"
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(shared.get, "a", read_slowly, since=time.monotonic())
        began.wait()
        assert shared.get("a", read_slowly) == "old"
        assert shared.peek("a") == "old"
        may_end.set()
        assert reading.result() == "new"
    assert shared.get("a", read_slowly) == shared.peek("a") == "new"


def test_a_peek_reads_nothing(shared, reader):
    assert shared.peek("a") is None
    shared.get("a", reader.read)
    reader.now += 0.9
    assert shared.peek("a") == 1
    shared.forget("a")
    assert shared.peek("a") is None
    shared.get("a", reader.read)
    reader.now += 1.1
    assert shared.peek("a") is None
    assert reader.count == 2

"""One reading for all who ask at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from web.shared_reads import JointReads


class Source:
    """Says how often it was read by then; its first reading goes on until it may end."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.is_first, self.may_go_on = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def read(self, keys: list[str]) -> dict[str, int]:
        self.asked.append(keys)
        number = len(self.asked)
        if number == 1:
            self.is_first.set()
            self.may_go_on.wait()
        if self.error is not None and number > 1:
            raise self.error
        return {key: number for key in keys if key != "nothing"}


@pytest.fixture
def source():
    return Source()


def wait_for(reads: JointReads, count: int) -> None:
    """Wait until so many are in the next reading."""
    while len(reads._waiting) < count:
        threading.Event().wait(0.001)


def ask(reads: JointReads, pool: ThreadPoolExecutor, source: Source, *asked: list[str]):
    """Have one ask, and while that is read some others."""
    first = pool.submit(reads.get, ["a"])
    source.is_first.wait()
    others = [pool.submit(reads.get, keys) for keys in asked]
    wait_for(reads, len(asked))
    source.may_go_on.set()
    return first, others


def test_who_comes_while_one_reads_is_in_the_next_reading(source):
    reads = JointReads(source.read)
    with ThreadPoolExecutor(8) as pool:
        first, others = ask(reads, pool, source, ["a", "b"], ["b"], ["nothing"], [], ["c"])
        assert first.result() == {"a": 1}
        # What was begun to be read before they asked may be out of date.
        assert [one.result() for one in others] == [{"a": 2, "b": 2}, {"b": 2}, {}, {}, {"c": 2}]
    assert len(source.asked) == 2
    assert sorted(source.asked[1]) == ["a", "b", "c", "nothing"]


def test_nothing_is_kept(source):
    source.may_go_on.set()
    reads = JointReads(source.read)
    assert [reads.get(["a"]) for _ in range(3)] == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_failure_is_that_of_those_whom_the_reading_was_for(source):
    reads, source.error = JointReads(source.read), ConnectionError("it is away")
    with ThreadPoolExecutor(8) as pool:
        first, others = ask(reads, pool, source, ["a"], ["b"])
        assert first.result() == {"a": 1}
        for one in others:
            with pytest.raises(ConnectionError, match="away"):
                one.result()
    source.error = None
    assert reads.get(["a"]) == {"a": 3}

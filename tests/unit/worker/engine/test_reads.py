"""What is read from the device: in one thread, and behind; fakes of the device write down in which order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.waiting import wait_until
from worker.aside import Aside, Call
from worker.engine.reads import READ_THREAD, DeviceReads, run_steps


class Device:
    """Writes down what is asked of it; a state is its step's number, the report ten times that."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.log: list[str] = []
        self.held = threading.Event()
        self.held.set()
        self._fails_at = fails_at
        self._aside = Aside("test-reads")

    def advance(self, state: int, number: int) -> int:
        assert state == number - 1
        self.log.append(f"enqueue {number}")
        if number == self._fails_at:
            raise MemoryError(f"at {number}")
        return number

    def begin_read(self, state: int) -> Call[int]:
        self.log.append(f"read {state}")

        def read() -> int:
            assert self.held.wait(20)
            return 10 * state

        return self._aside.do(read)

    def run(self, *, first: int = 1, last: int = 3, reads_behind: bool) -> Iterator[int]:
        steps = run_steps(
            self.advance, self.begin_read, first - 1, first=first, last=last, reads_behind=reads_behind
        )
        for number, state, report in steps:
            assert (state, report) == (number, 10 * number)
            self.log.append(f"yield {number}")
            yield number


def test_a_step_is_enqueued_while_the_one_before_is_read():
    device = Device()
    assert list(device.run(reads_behind=True)) == [1, 2, 3]
    assert device.log == [
        "enqueue 1", "read 1", "enqueue 2", "yield 1", "read 2", "enqueue 3", "yield 2", "read 3", "yield 3",
    ]  # fmt: skip


def test_the_next_step_is_enqueued_although_nothing_has_been_read_yet():
    device = Device()
    device.held.clear()
    steps, found = device.run(reads_behind=True), []
    thread = threading.Thread(target=lambda: found.append(next(steps)))
    thread.start()
    wait_until(lambda: "enqueue 2" in device.log, seconds=20)
    assert found == []
    device.held.set()
    thread.join(20)
    assert found == [1]


def test_without_it_a_step_is_begun_when_it_is_asked_for():
    device = Device()
    steps = device.run(reads_behind=False)
    next(steps)
    assert device.log == ["enqueue 1", "read 1", "yield 1"]
    assert list(steps) == [2, 3]


def test_who_leaves_throws_one_step_away():
    device = Device()
    steps = device.run(first=5, last=9, reads_behind=True)
    assert [next(steps), next(steps)] == [5, 6]
    steps.close()
    assert [line for line in device.log if line.startswith("enqueue")] == [
        "enqueue 5", "enqueue 6", "enqueue 7"
    ]  # fmt: skip


def test_nothing_is_left_to_do():
    assert list(Device().run(first=4, last=3, reads_behind=True)) == []


@pytest.mark.parametrize("reads_behind", [False, True])
def test_what_goes_wrong_is_raised_in_its_turn(reads_behind: bool):
    device, found = Device(fails_at=3), []
    with pytest.raises(MemoryError, match="at 3"):
        found.extend(device.run(last=5, reads_behind=reads_behind))
    assert "yield 2" in device.log
    assert "enqueue 4" not in device.log


def test_everything_is_read_in_one_thread_whoever_asks():
    reads, names, together = DeviceReads(), [], []
    ready = threading.Barrier(8)

    def read() -> None:
        names.append((threading.current_thread().name, threading.get_ident()))

    def ask() -> None:
        ready.wait(20)
        reads.get(read)
        together.append(reads.begin(read))

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(20)
    for call in together:
        call.wait()
    assert len(names) == 16
    assert {name for name, _ in names} == {READ_THREAD}
    assert len(set(names)) == 1


def test_an_error_is_that_of_who_asked():
    reads = DeviceReads()
    with pytest.raises(ZeroDivisionError):
        reads.get(lambda: 1 // 0)
    assert reads.get(lambda: 7) == 7

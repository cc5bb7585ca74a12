"""The meter of the storage's room, which never waits for a file system."""

from __future__ import annotations

import threading

from shared.errors import StorageUnavailable
from shared.storage.store import Room
from worker.devices import RoomMeter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_for_it(meter: RoomMeter) -> None:
    assert meter._thread is not None
    meter._thread.join(30)


def test_it_measures_now_and_then():
    clock, rooms = Clock(), [Room(10, 5), Room(10, 4)]
    meter = RoomMeter(lambda: rooms.pop(0), clock=clock)
    meter.read()
    wait_for_it(meter)
    assert meter.read() == Room(10, 5)
    clock.now = 5.0
    meter.read()
    wait_for_it(meter)
    assert meter.read() == Room(10, 4)
    assert rooms == []


def test_a_storage_that_hangs_is_not_waited_for_and_soon_not_believed():
    clock, go_on, answers = Clock(), threading.Event(), [Room(10, 5)]

    def measure() -> Room:
        if answers:
            return answers.pop()
        assert go_on.wait(30)
        return Room(10, 3)

    meter = RoomMeter(measure, clock=clock)
    meter.read()
    wait_for_it(meter)
    clock.now = 5.0
    assert meter.read() == Room(10, 5)
    clock.now = 15.0
    assert meter.read() is None
    go_on.set()
    wait_for_it(meter)
    assert meter.read() == Room(10, 3)


def test_a_storage_that_is_gone_has_no_room_to_tell():
    def measure() -> Room:
        raise StorageUnavailable

    meter = RoomMeter(measure)
    meter.read()
    wait_for_it(meter)
    assert meter.read() is None

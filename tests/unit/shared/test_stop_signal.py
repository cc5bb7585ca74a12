"""Whoever waits for a signal hears it, once and from then on."""

from __future__ import annotations

import os
import signal
from threading import Thread

from shared.processes import StopSignal


def test_it_is_set_by_either_signal_and_stays_so():
    for number in (signal.SIGTERM, signal.SIGINT):
        with StopSignal() as stopping:
            assert not stopping.is_set()
            assert not stopping.wait(0)
            os.kill(os.getpid(), number)
            assert [stopping.wait(30), stopping.wait(30), stopping.is_set()] == [True] * 3


def test_one_that_comes_in_the_middle_of_a_wait_ends_it_for_all():
    heard = []
    with StopSignal() as stopping:
        others = [Thread(target=lambda: heard.append(stopping.wait(30))) for _ in range(2)]
        for thread in others:
            thread.start()
        Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM)).start()
        assert stopping.wait(30)
        for thread in others:
            thread.join()
    assert heard == [True, True]


def test_the_handlers_of_before_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopSignal():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

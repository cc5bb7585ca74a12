"""A control that runs its rounds in a thread, beside the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import ServiceError
from shared.settings import Settings
from web.control.process import Control


@contextmanager
def running_control(settings: Settings) -> Iterator[Control]:
    """A control as its process runs it: a round that a failing service ends is followed by the next."""
    control, stopping = Control(settings), threading.Event()

    def run() -> None:
        while not stopping.is_set():
            try:
                control.round()
            except ServiceError:
                stopping.wait(0.1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield control
    finally:
        stopping.set()
        thread.join()
        control.close()

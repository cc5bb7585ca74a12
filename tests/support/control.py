"""A control that runs its rounds in a thread, beside the test; and the heartbeat of one that is not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.clock import utc_now
from shared.redis import Coordination
from shared.redis.control import ControlBeat
from shared.settings import Settings
from web.control.process import Control


def say_control_runs(redis: Coordination) -> None:
    """Leave a heartbeat of control that does not run out, for pages that are looked at without one."""
    redis.control.beat(ControlBeat(started_at=utc_now(), at=utc_now()))
    redis.client.persist(redis.names.key("control"))


@contextmanager
def running_control(settings: Settings) -> Iterator[Control]:
    """A control as its process runs it: a round that a failing service ends is followed by the next."""
    control, stopping = Control(settings), threading.Event()

    def run() -> None:
        while not stopping.is_set():
            if not control.round():
                stopping.wait(0.1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield control
    finally:
        stopping.set()
        thread.join()
        control.close()


def pretend_control(redis: Coordination, **facts: Any) -> None:
    """Let control seem to run, for as long as Redis keeps its data; `facts` are what else it tells."""
    now = utc_now()
    beat = ControlBeat(**{"started_at": now, "at": now, **facts})
    redis.client.set(redis.names.key("control"), beat.model_dump_json())

"""Our own Redis as a child of the supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
from time import monotonic

from shared.redis_server import RedisServer
from web.cli.child import Program


class RedisChild:
    """A `RedisServer` that is watched like every other process; its port stays the same over restarts."""

    def __init__(self, server: RedisServer, program: Program) -> None:
        self.program = program
        self._server = server
        self._started = 0.0

    @property
    def pid(self) -> int | None:
        """The id of the running process; None when there is none."""
        return self._server.pid

    @property
    def ran_seconds(self) -> float:
        """Seconds since it was started."""
        return monotonic() - self._started

    def start(self) -> None:
        """Start it and wait until it answers; raise `RedisUnavailable` when it does not."""
        self._server.start()
        self._started = monotonic()

    def ended(self) -> int | None:
        """Return the exit code once it has ended; None while it runs."""
        pid = self._server.pid
        if pid is None:
            return None
        found, status = _reap(pid)
        if found == 0:
            return None
        self._server.stop()  # only forgets it: there is nothing left to signal
        return os.waitstatus_to_exitcode(status)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._server.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server.pid, number)


def _reap(pid: int) -> tuple[int, int]:
    try:
        return os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return pid, 0

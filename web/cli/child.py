"""One process that the supervisor starts and stops."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

_TAIL_BYTES = 8192


@dataclass(frozen=True)
class Program:
    """What to run, where its log goes, and how it is stopped.

    A higher `stage` is started later and stopped earlier. `grace_seconds` pass between SIGTERM and SIGKILL.
    With one of the `final_codes` it says that starting it again would change nothing. The service does not
    start without those that are `required`.
    """

    name: str
    words: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    stage: int
    grace_seconds: float
    final_codes: frozenset[int] = frozenset()
    required: bool = False


class Child(Protocol):
    """A process as the supervisor sees it."""

    program: Program

    @property
    def pid(self) -> int | None:
        """The id of the running process; None when there is none."""

    @property
    def ran_seconds(self) -> float:
        """Seconds since it was started."""

    def start(self) -> None:
        """Start it."""

    def ended(self) -> int | None:
        """Return the exit code once it has ended and all that it left behind is gone; None while it runs."""

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; SIGKILL goes to its whole group."""


class ChildProcess:
    """A child in a session of its own, so that Ctrl-C reaches only the supervisor."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    @property
    def pid(self) -> int | None:
        """The id of the running process; None when there is none."""
        return self._process.pid if self._process else None

    @property
    def ran_seconds(self) -> float:
        """Seconds since it was started."""
        return monotonic() - self._started

    def start(self) -> None:
        """Start it, with both outputs appended to its log."""
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                list(self.program.words),
                env=dict(self.program.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started = monotonic()

    def ended(self) -> int | None:
        """Return the exit code once it has ended and all that it left behind is gone; None while it runs."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            # The pool of a killed node, the workers of a killed web server.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process = None
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; SIGKILL goes to its whole group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)


def log_tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, without empty ones; none when there is no log."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]

"""The supervisor's side of the guard: tells it which process groups there are."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_SCRIPT = Path(__file__).with_name("guard_process.py")


class Guard:
    """A small process that outlives this one, whatever kills it, and then stops all that is guarded."""

    def __init__(self, *, keep_open: tuple[int, ...] = ()) -> None:
        """Prepare a guard that also holds these file descriptors, such as a lock, until its work is done."""
        self._keep_open = keep_open
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Guard:
        # A session of its own: what ends this process's whole group must not end the guard.
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
            pass_fds=self._keep_open,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None

    def add(self, pid: int, *, stage: int, grace_seconds: float) -> None:
        """Guard the process group that `pid` leads; a higher `stage` is stopped earlier."""
        self._tell(f"+ {pid} {stage} {grace_seconds}")

    def remove(self, pid: int) -> None:
        """Forget a process group: all of it has ended."""
        self._tell(f"- {pid}")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            # Without its guard the supervisor still does all of its work.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")

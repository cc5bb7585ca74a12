"""The supervisor's side of the guard: starts it, and tells it the process groups to stop."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_SCRIPT = Path(__file__).with_name("guard_process.py")


class Guard:
    """A small process that stops all guarded process groups when this process ends, however it ends."""

    def __init__(self, *, keep_open: tuple[int, ...] = ()) -> None:
        """Prepare a guard that also keeps these file descriptors open, such as a lock, until it is done."""
        self._keep_open = keep_open
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Guard:
        # A session of its own: a signal to this process's group must not end the guard.
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
        """Remove a process group that has ended."""
        self._tell(f"- {pid}")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            # The supervisor works without its guard, too.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")

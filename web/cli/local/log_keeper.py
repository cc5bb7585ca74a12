"""The supervisor's side of the logs: a process of their own writes them, and begins a new file in time.

A child's two outputs are one end of a pair of sockets, and `log_process.py` reads the other. Why so:

- What is written to the descriptor itself (by TensorFlow, by Redis, by Python as it dies) goes the same way
  as what the child logs, and a child has nothing to do for it. One that renamed its own file would have to
  agree about it with all that share its descriptor: gunicorn's worker, a fleet's nodes, Celery's pool.
- A file that is copied and then truncated loses what is written in between. Here one process writes, and
  changes the file only where a line ends.
- A thread of the supervisor would end with it, and children would write to nobody. This process outlives it.
- Into a pipe, what is longer than 4 KiB, such as a traceback, may be written in parts with lines of another
  process between them. A socket takes up to 32 KiB as a whole.

The supervisor holds both ends of every pair: when the process that writes is killed, children wait, and
another one goes on with what was not written yet.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import socket
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

from shared.processes import describe_code, log_tail

_SCRIPT = Path(__file__).with_name("log_process.py")
_ANSWER_SECONDS = 10.0
#: At the end: a process that outlives its supervisor goes on logging.
_END_SECONDS = 10.0
#: Bounds the wait before the last lines of a log are shown.
_WRITTEN_SECONDS = 2.0
_LOOK_SECONDS = 0.005
#: As much as the system lets it be: a burst of lines does not make its writer wait.
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class _Pair:
    """The two ends of a log: a child writes to one, and the other is read."""

    written: socket.socket
    read: socket.socket


class LogKeeper:
    """A process that writes logs, as a context: leaving it waits until all is in the files."""

    def __init__(
        self,
        *,
        most_bytes: int,
        older: int,
        say: Callable[[str], None],
        keep_open: tuple[int, ...] = (),
    ) -> None:
        """Prepare it.

        Args:
            most_bytes: Size of a file at which another one is begun.
            older: Files that are kept beside the one that is written.
            say: Hears when the process has ended by itself.
            keep_open: Descriptors, such as a lock, that stay open until all is written.
        """
        self._most_bytes = most_bytes
        self._older = older
        self._say = say
        self._keep_open = keep_open
        self._pairs: dict[Path, _Pair] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process that writes; None when none was started."""
        return self._process.pid if self._process else None

    def __enter__(self) -> LogKeeper:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pair in self._pairs.values():
            pair.written.close()
            pair.read.close()
        self._pairs.clear()
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)

    def open(self, log: Path) -> int:
        """Begin a log anew, whose earlier lines go among the older files; return where to write it."""
        if log not in self._pairs:
            self.check()
            written, read = socket.socketpair()
            written.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            self._pairs[log] = _Pair(written, read)
            try:
                self._hand_over(log, anew=True)
            except OSError as error:
                self._say(f"What writes the logs did not take {log}: {error}; it is tried again.")
                self._kill()
        return self._pairs[log].written.fileno()

    def check(self) -> None:
        """Start the process again if it has ended."""
        code = None if self._process is None else self._process.poll()
        if code is None or self._control is None:
            return
        self._say(f"What writes the logs ended with {describe_code(code)}; it is started again.")
        self._control.close()
        try:
            self._start()
            for log in self._pairs:
                self._hand_over(log, anew=False)
        except OSError as error:
            # Children wait in the meantime, once what is between them is full.
            self._say(f"What writes the logs does not start: {error}; it is tried again.")
            self._kill()

    def tail(self, log: Path | None, lines: int) -> list[str]:
        """Return the last lines of a log, once what was said is in it."""
        pair = self._pairs.get(log) if log is not None else None
        deadline = monotonic() + _WRITTEN_SECONDS
        while pair is not None and _unread_bytes(pair.read) and monotonic() < deadline:
            sleep(_LOOK_SECONDS)
        return log_tail(log, lines)

    def _kill(self) -> None:
        """End the process; `check` starts another one, with all logs."""
        if self._process is not None:
            self._process.kill()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_ANSWER_SECONDS)
        with theirs:
            # A session of its own: a signal to this process's group must not end it before the children.
            self._process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-I", "-S", str(_SCRIPT)],
                stdin=theirs.fileno(),
                start_new_session=True,
                pass_fds=self._keep_open,
            )

    def _hand_over(self, log: Path, *, anew: bool) -> None:
        if self._control is None:
            raise OSError("nothing writes the logs: a LogKeeper is used in a 'with'")
        asked = {"path": str(log), "anew": anew, "bytes": self._most_bytes, "files": self._older}
        socket.send_fds(self._control, [json.dumps(asked).encode()], [self._pairs[log].read.fileno()])
        if not self._control.recv(1):
            raise OSError(f"what writes the logs has ended, and {log} was not opened")


def _unread_bytes(read: socket.socket) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(read.fileno(), termios.FIONREAD, count)
    return count[0]

"""The host of a local service: free ports, the lock on a data folder, stop signals."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from shared.processes import StopSignal
from web.cli.output import UpRefused

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def require_free_port(host: str, port: int) -> None:
    """Check that a server can listen there.

    Raises:
        UpRefused: when the port is in use, or the address cannot be listened on.
    """
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # As web chooses.
        family, kind, protocol, _, address = min(places, key=lambda found: found[0] != socket.AF_INET)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UpRefused(
                f"port {port} on {host} is taken by another program: stop it, or choose another with --port"
            ) from None
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UpRefused(f"cannot listen on {host}, port {port}: {reason}") from None


def free_port() -> int:
    """Return a port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FolderLock:
    """A lock on a folder, held by this process and those that get its `fd`; it ends with all of them."""

    def __init__(self, folder: Path, *, holder: str) -> None:
        """Prepare the lock; `holder` names this process in the error that another one gets."""
        self._path = folder / ".lock"
        self._holder = holder
        self.fd = -1

    def __enter__(self) -> FolderLock:
        """Take the lock.

        Raises:
            UpRefused: when another process has it, or the folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UpRefused(f"the folder {self._path.parent} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 500).decode(errors="replace").strip()
            os.close(fd)
            raise UpRefused(
                f"the folder {self._path.parent} is in use by {holder or 'another process'}: "
                "stop that one first, or choose another folder"
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{self._holder} (process {os.getpid()})".encode())
        self.fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not unlinked: a second process could then lock a file that a third cannot see.
        os.close(self.fd)
        self.fd = -1


class StopRequest(StopSignal):
    """Handles the signals that end a process, as a context.

    A handler that raises could do so between the start of a child and the moment it is registered; so the
    handler only notes it, and `check` raises at a safe point.
    """

    def __init__(self) -> None:
        super().__init__(_SIGNALS)
        self._repeated: Callable[[], None] | None = None

    def check(self) -> None:
        """Raise KeyboardInterrupt if a stop was requested."""
        if self.is_set():
            raise KeyboardInterrupt

    def on_repeat(self, action: Callable[[], None]) -> None:
        """Call `action` from the signal handler for every stop request from now on."""
        self._repeated = action

    def _hear(self, number: int, frame: FrameType | None) -> None:
        super()._hear(number, frame)
        if self._repeated is not None:
            self._repeated()

"""A way to a server that can be closed in the middle: what is sent is swallowed, and nobody is told."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType


class Proxy:
    """Passes on what comes for a server on this machine, while it is open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = Event()
        self._open.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def swallow(self) -> None:
        """Let nothing through from now on, in either direction."""
        self._open.clear()

    def let_through(self) -> None:
        """Pass on what comes from now on."""
        self._open.set()

    def __enter__(self) -> Proxy:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._sockets):
            # Those who wait for something to come are woken.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [near, far]
                for source, target in ((near, far), (far, near)):
                    Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._open.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)

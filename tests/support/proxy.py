"""A way to a server that can be closed in the middle: what is sent is swallowed, and nobody is told."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Thread
from types import MappingProxyType, TracebackType

_NOTHING: Mapping[bytes, bytes] = MappingProxyType({})


class Proxy:
    """Passes on what comes for a server on this machine, while it is open.

    On the way, bytes become others of the same length: `asked` in what goes there, `told` in what comes back.
    A connection over which `cut_at` goes there is cut in its place, the first `cuts` times.
    """

    def __init__(
        self,
        port: int,
        *,
        asked: Mapping[bytes, bytes] = _NOTHING,
        told: Mapping[bytes, bytes] = _NOTHING,
        cut_at: bytes = b"",
        cuts: int = 0,
    ) -> None:
        self._asked, self._told = asked, told
        self._cut_at, self.cuts_left = cut_at, cuts
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

    def break_all(self) -> None:
        """Break all connections that there are; who connects anew is let through."""
        for one in list(self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

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
                ended: list[None] = []
                for source, target, changed, cut_at in (
                    (near, far, self._asked, self._cut_at),
                    (far, near, self._told, b""),
                ):
                    Thread(
                        target=self._pass_on, args=(source, target, changed, cut_at, ended), daemon=True
                    ).start()

    def _pass_on(
        self,
        source: socket.socket,
        target: socket.socket,
        changed: Mapping[bytes, bytes],
        cut_at: bytes,
        ended: list[None],
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.cuts_left and cut_at and cut_at in data:
                    self.cuts_left -= 1
                    source.shutdown(socket.SHUT_RDWR)
                    break
                for real, other in changed.items():
                    data = data.replace(real, other)
                if self._open.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        ended.append(None)
        if len(ended) == 2:  # nothing comes from either side any more
            for one in (source, target):
                with suppress(ValueError):
                    self._sockets.remove(one)
                one.close()

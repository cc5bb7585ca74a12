"""Clients that ask over and over on connections of their own, and cost little themselves.

Each sends its next request when it has read the answer to the last one. One thread carries all of them.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: How long the slowest answer may take.
_PATIENCE_SECONDS = 60


@dataclass
class Load:
    """What came of it: how many answers of each status, how long each took, and for how long was asked."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.took) / self.seconds if self.seconds else 0.0


def request_bytes(
    method: str, path: str, *, port: int, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: */*"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask_for(seconds: float, requests: Iterable[bytes], *, port: int, clients: int) -> Load:
    """Have `clients` ask for `seconds`; they take the requests in turn, and begin again at their end."""
    return asyncio.run(_ask(seconds, itertools.cycle(list(requests)), port, clients))


def ask_each(make: Callable[[], bytes], seconds: float, *, port: int, clients: int) -> Load:
    """Have `clients` ask for `seconds`, each time what `make` returns."""
    return asyncio.run(_ask(seconds, iter(make, None), port, clients))


async def _ask(seconds: float, requests: Iterator[bytes], port: int, clients: int) -> Load:
    loop, load = asyncio.get_running_loop(), Load()
    began = time.perf_counter()
    lines = [
        (await loop.create_connection(lambda: _Client(requests, load, began + seconds), "127.0.0.1", port))[1]
        for _ in range(clients)
    ]
    async with asyncio.timeout(seconds + _PATIENCE_SECONDS):
        await asyncio.gather(*(line.ended for line in lines))
    load.seconds = time.perf_counter() - began
    return load


class _Client(asyncio.Protocol):
    """One client on its connection."""

    def __init__(self, requests: Iterator[bytes], load: Load, until: float) -> None:
        self._requests, self._load, self._until = requests, load, until
        self._read = b""
        self._whole: int | None = None
        self._asked_at = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._read, self._whole = b"", None
        self._asked_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._read += data
        if self._whole is None:
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._read, 0, end)
            is_bare = self._read[9:12] in (b"304", b"204")
            self._whole = end + 4 + (int(found[1]) if found and not is_bare else 0)
        if len(self._read) >= self._whole:
            now = time.perf_counter()
            status = int(self._read[9:12])
            self._load.took.append(now - self._asked_at)
            self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
            if now < self._until:
                self._ask()
            else:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            if exc is None and time.perf_counter() >= self._until:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(exc or ConnectionError("the server has closed the connection"))

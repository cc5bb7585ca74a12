"""The body of a request, taken in before a thread sees it: bounded, with a deadline, large ones on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from werkzeug.exceptions import RequestTimeout

from shared.errors import UploadsUnavailable

Receive = Callable[[], Awaitable[dict[str, Any]]]
#: Does something that may wait for a disk, elsewhere than in the event loop.
Run = Callable[..., Awaitable[Any]]

#: What a body may take at least, and how fast it must come then: a bad line, but none that stands still.
_BODY_SECONDS = 60
_BYTES_PER_SECOND = 4096
_SILENT_SECONDS = 30
#: Up to here a body stays in memory.
_MEMORY_BYTES = 64 * 1024
#: How much of a body that nobody wants is still read, and for how long.
_WASTED_BYTES = 64_000_000
_WASTED_SECONDS = 10
_WASTED_SILENT_SECONDS = 2


@dataclass
class Body:
    """What has come of a body; `fault` is what is answered when that is not enough."""

    file: IO[bytes]
    size: int = 0
    is_whole: bool = False
    fault: Exception | None = None


class Bodies:
    """Takes in bodies, which together may lie on the disk with no more than `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0

    async def take(self, receive: Receive, *, limit: int, run: Run) -> Body:
        """Return the body that is being sent, or as much of it as shows that it is longer than `limit`."""
        body = Body(SpooledTemporaryFile(max_size=_MEMORY_BYTES))  # noqa: SIM115 - closed by `give_back`
        try:
            await self._fill(body, receive, limit=limit, run=run)
            body.file.seek(0)
        except OSError as error:
            body.fault = UploadsUnavailable(
                f"the folder for temporary files (TMPDIR) does not take the upload: {error.strerror or error}"
            )
        except BaseException:
            self.give_back(body)
            raise
        return body

    async def _fill(self, body: Body, receive: Receive, *, limit: int, run: Run) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        while not body.is_whole and body.size <= limit:
            due = started + _BODY_SECONDS + body.size / _BYTES_PER_SECOND
            message = await _receive(receive, min(_SILENT_SECONDS, due - loop.time()))
            if message is None or message["type"] != "http.request":
                body.fault = RequestTimeout("the body did not come in time; send it again")
                return
            data = message.get("body", b"")
            body.size += len(data)
            self._held_bytes += len(data)
            if self._held_bytes > self._most_bytes:
                body.fault = UploadsUnavailable("too much is being uploaded at once")
                return
            if body.size <= _MEMORY_BYTES:
                body.file.write(data)
            elif data:
                await run(body.file.write, data)
            body.is_whole = not message.get("more_body", False)

    def give_back(self, body: Body) -> None:
        """Forget a body."""
        self._held_bytes -= body.size
        body.file.close()


async def waste(receive: Receive) -> None:
    """Read on what nobody wants, for a while: a client that still sends would lose the answer to a reset."""
    loop = asyncio.get_running_loop()
    due, left = loop.time() + _WASTED_SECONDS, _WASTED_BYTES
    while left > 0 and loop.time() < due:
        message = await _receive(receive, min(_WASTED_SILENT_SECONDS, due - loop.time()))
        if message is None or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))


async def _receive(receive: Receive, seconds: float) -> dict[str, Any] | None:
    """Return the next message; None when none comes in time."""
    try:
        return await asyncio.wait_for(receive(), max(0.0, seconds))
    except TimeoutError:
        return None

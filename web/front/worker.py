"""gunicorn's asyncio worker with our bounds: how many connections, how long a head, how long nothing is read.

gunicorn has the parser, keep-alive and flow control. What it has no bound for is here.
"""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus
from typing import Any

from gunicorn.asgi.protocol import (  # type: ignore[import-untyped]
    ASGIProtocol,
    _get_cached_status_line,
)
from gunicorn.workers.gasgi import ASGIWorker  # type: ignore[import-untyped]

from web.front.application import CLOSE_KEY, Front
from web.front.wsgi import Scope

_BACKLOG = 256
_VERSIONS = ((1, 0), (1, 1))
#: What Python says of a Content-Length of thousands of digits.
_TOO_MANY_DIGITS = "for integer string conversion"
#: From the connection to the end of the first head. Later heads have gunicorn's keep-alive to come in.
_HEAD_SECONDS = 10.0
#: How long a client may read nothing of what waits for it.
_STALLED_SECONDS = 120.0
_SWEEP_SECONDS = 1.0
#: How long a process that ends lets requests go on; gunicorn's parent kills it 3 s later.
_ENDING_SECONDS = 7.0
#: How long what still comes is read after a refusal of a head, and on how many connections at once: to close
#: with something unread resets the connection, and the client loses the answer.
_LINGER_SECONDS = 10.0
_LINGERING = 100
#: More than any head that gunicorn takes has of one line; all lines together.
_HEAD_BYTES = 64 * 1024
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 30\r\n\r\nToo many connections are open\n"
)


class Connection(ASGIProtocol):  # type: ignore[misc]
    """One connection, which is swept away when it has stood still for too long."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self._closed = False
        self._now = worker.loop.time
        #: When its first head is due; None once it is there.
        self.head_due: float | None = self._now() + _HEAD_SECONDS
        self._head_bytes = 0
        self._unread_bytes = 0
        self._read_at = 0.0
        self._is_closing_after_answer = False
        self._is_refused = False
        self.is_lingering = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, if there is a place; who has waited longest for the end of a head makes room."""
        is_welcome = self.worker.make_room()
        super().connection_made(transport)
        self.worker.connections.add(self)
        if not is_welcome:
            transport.write(_FULL)
            self._is_refused = True
            self._close_transport()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.worker.connections.discard(self)
        self.worker.lingering.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what has come; a head may have 64 kB."""
        if self.is_lingering:
            return
        if self.head_due is not None:
            self._head_bytes += len(data)
        try:
            super().data_received(data)
        except ValueError as error:
            if _TOO_MANY_DIGITS not in str(error):
                raise
            self._send_error_response(413, "Content Too Large")
            self._close_transport()
        if self.head_due is not None and self._head_bytes > _HEAD_BYTES:
            self._send_error_response(431, "Request Header Fields Too Large")
            self._close_transport()

    def _send_error_response(self, *words: Any, **how: Any) -> None:  # noqa: ANN401 - gunicorn's
        self._is_refused = True
        super()._send_error_response(*words, **how)

    def _close_transport(self) -> None:
        """Close it; after a refusal, once the client has read the answer and closed, or a little later."""
        may_linger = self._is_refused and len(self.worker.lingering) < _LINGERING
        if not may_linger or self._closed or self.transport.is_closing():
            super()._close_transport()
            return
        self._closed = self.is_lingering = True
        self.head_due = None  # it is refused once
        self.worker.lingering.add(self)
        self.transport.write_eof()
        self.transport.resume_reading()
        self.worker.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _on_headers_complete(self) -> Any:  # noqa: ANN401 - gunicorn's
        self.head_due = None
        return super()._on_headers_complete()

    def _build_http_scope(self, *words: Any, **how: Any) -> Scope:  # noqa: ANN401 - gunicorn's
        scope: Scope = super()._build_http_scope(*words, **how)
        scope[CLOSE_KEY] = self._close_after_answer
        return scope

    def _close_after_answer(self) -> None:
        self._is_closing_after_answer = True

    def _will_close(self, *words: Any, **how: Any) -> bool:  # noqa: ANN401 - gunicorn's
        return self._is_closing_after_answer or bool(super()._will_close(*words, **how))

    def is_idle(self) -> bool:
        """Whether no request is being answered on it."""
        return self.head_due is not None or self._awaiting_request or self.is_lingering

    def sweep(self, now: float) -> None:
        """End it if it has stood still for too long."""
        if self.transport is None:
            return
        if self.head_due is not None and now >= self.head_due:
            self.head_due = None
            if self._head_bytes:
                self._send_error_response(408, "Request Timeout")
            self.end()
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread != self._unread_bytes:
            self._unread_bytes, self._read_at = unread, now
        elif now - self._read_at >= _STALLED_SECONDS:
            self.transport.abort()

    def end(self) -> None:
        """End it; what has been written is still sent."""
        if self.is_lingering:
            self.transport.close()
        self._close_transport()
        if self._request_ready is not None:
            self._request_ready.set()


class Worker(ASGIWorker):  # type: ignore[misc]
    """The worker process: an event loop with its connections, and the front that answers on them."""

    def __init__(self, *words: Any, **how: Any) -> None:  # noqa: ANN401 - gunicorn's
        super().__init__(*words, **how)
        self.connections: set[Connection] = set()
        self.lingering: set[Connection] = set()
        self.front: Front | None = None
        for status in HTTPStatus:  # gunicorn does not know them all
            for version in _VERSIONS:
                _get_cached_status_line(version, status.value, status.phrase)

    def load_wsgi(self) -> None:
        """Make the app and its front."""
        super().load_wsgi()
        self.front = self.asgi

    def handle_exit_signal(self) -> None:
        """Begin to end: streams and waits now, connections on which nothing is asked too."""
        super().handle_exit_signal()
        if self.front is not None:
            self.front.stop()
        for server in self.servers:
            server.close()
        for connection in list(self.connections):
            if connection.is_idle():
                connection.end()
        self.loop.call_later(_ENDING_SECONDS, self._end_all)

    def _end_all(self) -> None:
        for connection in list(self.connections):
            connection.transport.abort()

    def make_room(self) -> bool:
        """Whether there is a place for a further connection, which may be made."""
        if len(self.connections) < self.worker_connections:
            return True
        waiting = [connection for connection in self.connections if connection.head_due is not None]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda connection: connection.head_due or 0.0)
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True

    async def _serve(self) -> None:
        for listener in self.sockets:
            self.servers.append(
                await self.loop.create_server(lambda: Connection(self), sock=listener.sock, backlog=_BACKLOG)
            )
        while self.alive and self.ppid == os.getppid():
            self.notify()
            now = self.loop.time()
            for connection in list(self.connections):
                connection.sweep(now)
            await asyncio.sleep(_SWEEP_SECONDS)
        await self._shutdown()

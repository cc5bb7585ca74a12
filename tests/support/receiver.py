"""A receiver of webhooks: a real HTTP server that verifies what it gets, as receivers do with the package."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Told:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    def verify(self, secret: str) -> dict[str, Any]:
        """Return the message; raises when the signature is not that of a secret, or too old."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass(frozen=True)
class Reply:
    """What a receiver answers."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Server(ThreadingHTTPServer):
    """Says nothing of senders that are killed, or do not wait."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Receiver:
    """Listens on a free port of an address of loopback; use it in a ``with``.

    `reply` decides on the answer to each request, after it is noted in `told`.
    """

    def __init__(
        self,
        reply: Callable[[Told], Reply] = lambda _: Reply(),
        *,
        host: str = "127.0.0.1",
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self.told: list[Told] = []
        self.reply = reply
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size_bytes = int(self.headers["content-length"])
                body = self.rfile.read(size_bytes)
                if len(body) < size_bytes:
                    self.close_connection = True  # who sent it was killed: it was told nothing
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                told = Told(self.path, headers, body)
                receiver.told.append(told)
                answer = receiver.reply(told)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def do_GET(self) -> None:
                receiver.told.append(Told(self.path, dict(self.headers.items()), b""))
                self.send_error(405)

            def log_message(self, *words: object) -> None:
                pass

        self._server = _Server((host, 0), Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/hook", *, host: str | None = None) -> str:
        return f"{self.scheme}://{host or self._server.server_address[0]}:{self.port}{path}"

    def wait_for(self, count: int, *, seconds: float = 20) -> list[Told]:
        """Return what was told once there were so many requests."""
        wait_until(lambda: len(self.told) >= count, seconds=seconds, what=f"{count} messages")
        return list(self.told)

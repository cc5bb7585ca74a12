"""The app called for one request, in threads, a little at a time."""

from __future__ import annotations

import asyncio
import contextvars
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, TypeVar
from urllib.parse import unquote_to_bytes

from werkzeug import exceptions

from web.address import WsgiApp
from web.later import LEFT_KEY, Left

Scope = dict[str, Any]
_T = TypeVar("_T")
#: What is read of an answer in one go.
_PIECE_BYTES = 64 * 1024
_SLASH = re.compile(r"%2(f)", re.IGNORECASE)
_WHOLE_URL = re.compile(rb"https?://", re.IGNORECASE)
_NAMED_OTHERWISE = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class Errand:
    """What threads do for one request, one call after the other, in one context of variables."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._context = contextvars.Context()
        self._last: Future[Any] | None = None

    def run_here(self, call: Callable[..., _T], *words: Any) -> _T:  # noqa: ANN401 - any call's
        """Return what a call returns that waits for nothing, in the event loop."""
        return self._context.run(call, *words)

    async def run(self, call: Callable[..., _T], *words: Any) -> _T:  # noqa: ANN401 - any call's
        """Return what a call returns."""
        self._last = future = self._pool.submit(self._context.run, call, *words)
        return await asyncio.wrap_future(future)

    def finish(self, call: Callable[[], object]) -> None:
        """Do something last, also when nobody waits for a call that is under way."""
        if self._last is None or self._last.done():
            self._context.run(call)
        else:
            self._last.add_done_callback(lambda _: self._context.run(call))


class Answer:
    """An answer of a WSGI app: status, headers, and the pieces of its body; made in a thread."""

    def __init__(self, app: WsgiApp, environ: dict[str, Any]) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.left: Left = environ[LEFT_KEY]
        self._iterable: Iterable[bytes] = app(environ, self._start)
        self._pieces: Iterator[bytes] = iter(self._iterable)
        is_left = self.left.source is not None or self.left.wait is not None
        try:
            #: The first piece, and whether there is more.
            self.first = (b"", False) if is_left else self.read()
        except BaseException:
            self.close()
            raise

    def _start(
        self, status: str, headers: list[tuple[str, str]], _exc_info: object = None
    ) -> Callable[[bytes], object]:
        self.status = int(status.split(" ", 1)[0])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return _refuse_write

    def read(self) -> tuple[bytes, bool]:
        """Return the next piece of the body, and whether there is more."""
        found, size = [], 0
        for piece in self._pieces:
            found.append(piece)
            size += len(piece)
            if size >= _PIECE_BYTES:
                return b"".join(found), True
        return b"".join(found), False

    def close(self) -> None:
        """Close what the app has opened."""
        close = getattr(self._iterable, "close", None)
        if close is not None:
            close()


def split_target(scope: Scope) -> tuple[str, str]:
    """Return host and path that a request asks for; the host is empty unless the target is a whole URL."""
    raw: str = scope["raw_path"].decode("latin-1")
    if raw[:7].lower() == "http://" or raw[:8].lower() == "https://":
        host, slash, path = raw.partition("://")[2].partition("/")
        return host, slash + path or "/"
    return "", raw


def find_fault(scope: Scope) -> exceptions.HTTPException | None:
    """Return why RFC 9112 has a head refused that gunicorn lets pass; None where it does not."""
    if scope["http_version"] == "1.1" and not any(name == b"host" for name, _ in scope["headers"]):
        return exceptions.BadRequest("the request has no Host header")
    if _WHOLE_URL.match(scope["raw_path"]) and not split_target(scope)[0]:
        return exceptions.BadRequest("the target of the request names no host")
    codings = b",".join(value for name, value in scope["headers"] if name == b"transfer-encoding")
    if codings.strip().lower() not in (b"", b"chunked"):
        return exceptions.NotImplemented("the body has a transfer coding besides chunked; send it as it is")
    return None


def environ_of(scope: Scope, body: IO[bytes], *, size: int | None) -> dict[str, Any]:
    """Return the WSGI environ of a request; `size` is that of the body, None when it has none."""
    server, client = scope.get("server") or ("", 0), scope.get("client") or ("", 0)
    query = scope["query_string"].decode("latin-1")
    host, raw = split_target(scope)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # A slash within a name stays as it was sent: decoded it would part the path.
        "PATH_INFO": unquote_to_bytes(_SLASH.sub(r"%252\1", raw)).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": f"{raw}?{query}" if query else raw,
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": str(client[0]),
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        LEFT_KEY: Left(),
    }
    for name, value in scope["headers"]:
        header = name.decode("latin-1").lower()
        key = _NAMED_OTHERWISE.get(header) or "HTTP_" + header.upper().replace("-", "_")
        text = value.decode("latin-1")
        separator = "; " if header == "cookie" else ","
        environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    if host:
        environ["HTTP_HOST"] = host  # it goes before the header
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # taken off
    environ.pop("CONTENT_LENGTH", None)
    if size is not None:
        environ["CONTENT_LENGTH"] = str(size)
    return environ


def _refuse_write(_data: bytes) -> None:
    raise NotImplementedError("the app answers with an iterable")

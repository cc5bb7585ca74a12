"""What is done for every request: an id, a line in the log, and the headers of every response."""

from __future__ import annotations

import re
import time

import structlog
from flask import Flask, Response, g, request

from shared.ids import new_id
from shared.logs import get_logger

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
_QUIET = {"/healthz", "/readyz"}
_log = get_logger(__name__)


def handle_traffic(app: Flask) -> None:
    """Let an app name, log and guard all its traffic."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
    g.started = time.monotonic()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    # Pages run our own files and show chosen pictures (blob:); anything else may do nothing at all.
    policy = _PAGE_POLICY if response.mimetype == "text/html" else _FILE_POLICY
    response.headers.setdefault("Content-Security-Policy", policy)
    say = _log.debug if request.path in _QUIET and response.status_code < 400 else _log.info
    say(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        seconds=round(time.monotonic() - g.started, 4),
    )
    return response

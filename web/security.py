"""Security of every request: caller, allowed hosts and origins, request id, response headers."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, g, request

from shared.errors import CrossSiteRequest, UnknownHost
from shared.logs import get_logger
from shared.protocol import new_id
from shared.settings import Settings

LOCAL_CALLER = "local"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
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


def current_caller() -> str:
    """Return the caller of the current request; for now every caller is the local one."""
    return LOCAL_CALLER


def guard_requests(app: Flask, settings: Settings) -> None:
    """Make an app refuse requests from other sites, and on loopback those for other hosts."""
    hosts = allowed_hosts(settings.host, settings.url)

    def check() -> None:
        check_host(request.host, hosts)
        if request.method not in _SAFE_METHODS:
            check_origin(
                request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin"), host=request.host
            )

    app.before_request(check)


def allowed_hosts(listens_on: str, url: str) -> frozenset[str] | None:
    """Return the host names that requests may use; None is any.

    Requests to a service on loopback use the names of this machine, or behind a proxy the name in
    ``ATELIER_URL``. Any other name is a case of DNS rebinding.
    """
    if not _is_loopback(listens_on):
        return None
    own = urlsplit(url).hostname
    return _LOOPBACK_NAMES | ({own} if own else set())


def check_host(host: str, allowed: Collection[str] | None) -> None:
    """Refuse a request for a host that is not allowed; ports are ignored, since tunnels change them.

    Raises:
        UnknownHost: naming the host and those that are allowed.
    """
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    if allowed is not None and name.lower() not in allowed:
        known = ", ".join(sorted(allowed))
        raise UnknownHost(f"the request asks for the host '{name[:100]}'; this service is {known}")


def check_origin(fetch_site: str | None, origin: str | None, *, host: str) -> None:
    """Refuse a request that changes something and that a page of another site sent.

    Browsers send ``Sec-Fetch-Site``, older ones ``Origin``; other clients send neither.

    Raises:
        CrossSiteRequest: naming the origin.
    """
    if fetch_site is not None:
        is_ours = fetch_site in ("same-origin", "none")
    else:
        is_ours = origin is None or urlsplit(origin).netloc == host
    if not is_ours:
        raise CrossSiteRequest(f"the request comes from a page of {(origin or 'another site')[:200]}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def handle_traffic(app: Flask) -> None:
    """Give every request of an app an id, log it, and set its response headers."""
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
    # Pages may run our own files and show chosen pictures (blob:); everything else is forbidden.
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

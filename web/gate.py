"""The gate: requests that another site's page makes a browser send are refused before any view sees them.

There is no login to steal yet, but a page from anywhere could post to a service on the reader's own machine.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, request

from shared.errors import CrossSiteRequest, UnknownHost
from shared.settings import Settings

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def guard_requests(app: Flask, settings: Settings) -> None:
    """Let an app refuse what comes from other sites, and on loopback what asks for other hosts."""
    hosts = allowed_hosts(settings.host, settings.url)

    def check() -> None:
        check_host(request.host, hosts)
        if request.method not in _SAFE_METHODS:
            check_origin(
                request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin"), host=request.host
            )

    app.before_request(check)


def allowed_hosts(listens_on: str, url: str) -> frozenset[str] | None:
    """Return the names by which the service may be asked for; None is any.

    A service that only this machine reaches is asked for by the names of this machine, or by the name in
    ``ATELIER_URL``, behind a proxy. Any other name is one that someone pointed here (DNS rebinding).
    """
    if not _is_loopback(listens_on):
        return None
    own = urlsplit(url).hostname
    return _LOOPBACK_NAMES | ({own} if own else set())


def check_host(host: str, allowed: Collection[str] | None) -> None:
    """Refuse a request for a host that is not ours; the port says nothing, for tunnels have others.

    Raises:
        UnknownHost: naming the one asked for and those allowed.
    """
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    if allowed is not None and name.lower() not in allowed:
        known = ", ".join(sorted(allowed))
        raise UnknownHost(f"the request asks for the host '{name[:100]}'; this service is {known}")


def check_origin(fetch_site: str | None, origin: str | None, *, host: str) -> None:
    """Refuse a request that changes something and that a page of another site sent.

    Browsers say so in ``Sec-Fetch-Site``, older ones in ``Origin``; what is no browser sends neither.

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

"""Security of every request: who asks, allowed hosts and origins, request id, response headers."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import UnsupportedMediaType

from shared.errors import CrossSiteRequest, DatabaseUnavailable, InvalidSettings, UnknownHost
from shared.logs import get_logger
from shared.protocol import new_id
from shared.settings import Settings
from shared.trace import go_on, trace_facts
from web.access.gate import Gate, require
from web.access.limits import quota_fields
from web.access.rules import needed_scope
from web.access.sessions import CSRF_FIELD, CSRF_HEADER, require_csrf
from web.access.shares import SHARE_PATH
from web.access.tokens import Access, Scope
from web.address import Address, bracketed, host_name, is_loopback, parse_address
from web.later import is_put_off
from web.services import get_services

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
#: Addresses that mean all of a machine; no name of a service.
_EVERYWHERE = frozenset({"0.0.0.0", "[::]"})  # noqa: S104 - compared only
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHARE_PATH = re.compile(re.escape(SHARE_PATH) + ".*", re.IGNORECASE | re.DOTALL)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With less than this a browser sends a page's own form as if it came from nowhere: "Origin: null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
#: A browser that shows a picture alone makes a page around it, whose style is its own.
_PICTURE_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
)
#: What takes `caller`, whose it is to be.
_LISTS = frozenset({"jobs.index", "assets.index_assets", "jobs_page.index", "jobs_page.draw_parts"})
#: What reads its form itself, and calls `check_form`.
_CSRF_IN_VIEW = frozenset({"new_page.create"})
#: What is answered although the database does not, for who asked within an hour before.
_WITHOUT_DATABASE, _REMEMBERED_SECONDS = frozenset({"metrics.read_metrics"}), 3600.0
_STARTED_KEY = "atelier.started"
#: In the WSGI environ: the trace of the request, and of what comes of it.
_TRACE_KEY = "atelier.traceparent"
#: In the WSGI environ of a request that was counted: what is left of its caller's requests, or None.
QUOTA_KEY = "atelier.quota"
_HEALTH = {"/healthz", "/readyz"}
_log = get_logger(__name__)


def _csrf_of_form() -> str | None:
    # Of a body with pictures nothing is read before it is known what they may be.
    return None if request.mimetype == "multipart/form-data" else request.form.get(CSRF_FIELD)


def check_form() -> None:
    """Refuse a form with pictures, which was just read, that does not come from a page of this session.

    Raises:
        CsrfMissing: as `require_csrf`.
    """
    require_csrf(current_access(), request.form.get(CSRF_FIELD))


def current_access() -> Access:
    """Return for whom the current request asks, and what that may do."""
    access: Access = g.access
    return access


def current_asker() -> Access:
    """Return who shows a token or a cookie: another caller than the current one for who manages theirs."""
    asker: Access = g.asker
    return asker


def current_caller() -> str:
    """Return the caller of the current request."""
    return current_access().caller


def guard_requests(app: Flask, settings: Settings) -> None:
    """Make an app refuse requests from other sites, and those for names that are not its own.

    Raises:
        InvalidSettings: as `allowed_hosts`.
    """
    address, hosts = parse_address(settings.public_url), own_hosts(settings)

    def check() -> None:
        # Whoever looks after machines asks by an address that may be new every time; nothing is told there.
        if request.path not in _HEALTH or request.method not in _SAFE_METHODS:
            check_host(request.host, hosts)
        if request.method not in _SAFE_METHODS:
            check_encoding(request.headers.get("Content-Encoding"))
            site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
            check_origin(site, origin, host=request.host, address=address)
        _let_in()

    app.before_request(check)


def _let_in() -> None:
    """See who asks, unless that does not matter here.

    Raises:
        Unauthenticated, ScopeMissing: when that is nobody, or may not do this.
        RateLimited: when they have sent too many requests.
    """
    needed = None if request.endpoint is None else needed_scope(request.endpoint)
    if needed is None or request.method == "OPTIONS":
        return
    gate, rates = get_services().gate, get_services().rates
    access = _identify(gate)
    g.asker = access
    # Of what was put off, or begun on a short way, the same request comes here again.
    if QUOTA_KEY not in request.environ:
        request.environ[QUOTA_KEY] = rates.require(access)
    require(access, needed)
    if request.method not in _SAFE_METHODS and request.endpoint not in _CSRF_IN_VIEW:
        require_csrf(access, request.headers.get(CSRF_HEADER) or _csrf_of_form())
    # What is empty filters nothing, as in all other filters.
    names, whose = request.view_args or {}, request.args.get("caller", "").strip()
    if whose and request.endpoint in _LISTS and whose != access.caller:
        require(access, Scope.MANAGE)
        access = replace(access, caller=whose)
    g.access = gate.as_owner(access, job_id=names.get("job_id"), asset_id=names.get("asset_id"))


def _identify(gate: Gate) -> Access:
    """See who asks; for metrics, which tell that the database does not answer, as it was seen last.

    Raises:
        Unauthenticated, DatabaseUnavailable: as `Gate.identify`.
    """
    try:
        return gate.identify(request.environ)
    except DatabaseUnavailable:
        if request.endpoint not in _WITHOUT_DATABASE:
            raise
        return gate.identify_from_memory(request.environ, within_seconds=_REMEMBERED_SECONDS)


def own_hosts(settings: Settings) -> frozenset[str]:
    """Return the names that requests may use, by the settings.

    Raises:
        InvalidSettings: as `allowed_hosts`.
    """
    return allowed_hosts(settings.host, parse_address(settings.public_url), settings.allowed_hosts)


def allowed_hosts(listens_on: str, address: Address, names: str = "") -> frozenset[str]:
    """Return the names that requests may use: this machine's own, that people use, and those that are set.

    Any other name is a case of DNS rebinding: a page of another site that lets its own name lead here. Names
    of the machine itself cannot be misused so, wherever the service listens.

    Args:
        listens_on: The address that the service listens on; it is a name of its own, unless it means all.
        address: Where people find the service.
        names: ``ATELIER_ALLOWED_HOSTS``: names or addresses with commas between; ``*.example.com`` is every
            name below one, ``*`` every name at all.

    Raises:
        InvalidSettings: naming the entry of `names` that is none.
    """
    given = {_read_name(entry.strip()) for entry in names.split(",") if entry.strip()}
    own = {address.name, *([name] if (name := host_name(bracketed(listens_on))) else [])}
    return frozenset(_LOOPBACK_NAMES | (own - _EVERYWHERE) | given)


def decide_exposure(settings: Settings, *, has_token: bool) -> str | None:
    """Decide whether a service may listen where it is to; return what has to be known of that, if anything.

    `has_token` says whether there is a token, so that every request needs one.

    Raises:
        InvalidSettings: when others than this machine would reach it, nothing keeps anybody out, and nobody
            said that this is meant.
    """
    host = settings.published_host or settings.host
    if is_loopback(host):
        return None
    names = ", ".join(sorted(own_hosts(settings)))
    place = f"{host or 'every address'}, port {settings.port}, beyond this machine"
    known = f"It answers to the names {names}; ATELIER_ALLOWED_HOSTS adds others."
    if has_token:
        return (
            f"It listens on {place}. Every request needs a token; on the way tokens and pictures can be read "
            f"unless a proxy with TLS is in front of it. {known}"
        )
    if not settings.open:
        raise InvalidSettings(
            f"the service is to listen on {place}, and there is no token: whoever reaches it could read, "
            "submit and delete. Make the first token with 'atelier token create NAME --scope admin', on this "
            "machine with the same settings; for this machine alone set ATELIER_HOST=127.0.0.1. "
            "ATELIER_OPEN=1 lets everybody in"
        )
    return (
        f"ATELIER_OPEN: it listens on {place}, without a login: whoever reaches that port may read, submit "
        f"and delete everything. 'atelier token create NAME --scope admin' ends that. {known}"
    )


def check_host(host: str, allowed: Collection[str]) -> None:
    """Refuse a request for a host that is not allowed; ports are ignored, since tunnels change them.

    Raises:
        UnknownHost: naming the host and those that are allowed.
    """
    if not is_own_host(host, allowed):
        known = ", ".join(sorted(allowed))
        raise UnknownHost(f"the request asks for the host '{host[:100]}'; this service is {known}")


def is_own_host(host: str, allowed: Collection[str]) -> bool:
    """Whether a host, with a port or without, has one of the names that are allowed."""
    name = host_name(host)
    return name is not None and _is_among(name, allowed)


def _is_among(name: str, allowed: Collection[str]) -> bool:
    above = name.partition(".")[2]
    while above:
        if f"*.{above}" in allowed:
            return True
        above = above.partition(".")[2]
    return name in allowed or "*" in allowed


def _read_name(entry: str) -> str:
    """Return an entry of the setting as names are compared; a port says nothing, and is left out."""
    if entry == "*":
        return entry
    wildcard, bare = ("*.", entry[2:]) if entry.startswith("*.") else ("", entry)
    try:
        bare = bare if bare.isascii() else bare.encode("idna").decode()
    except UnicodeError:
        bare = ""
    name = host_name(bracketed(bare))
    if name is None or (wildcard and name.startswith("[")):
        raise InvalidSettings(
            f"ATELIER_ALLOWED_HOSTS: '{entry}' is no host name; write names or addresses with commas "
            "between, such as atelier.example,192.168.1.5,*.lan"
        )
    return wildcard + name


def check_origin(fetch_site: str | None, origin: str | None, *, host: str, address: Address) -> None:
    """Refuse a request that changes something and that a page of another site sent.

    Browsers send ``Sec-Fetch-Site``, those on plain HTTP and older ones only ``Origin``; other clients send
    neither. The origin of the address at which people find the service is its own, whatever a proxy makes of
    ``Host``; another scheme or port of that host is another site. At any other name that the service
    answers to, its pages have the origin that was asked for.

    Args:
        fetch_site: The header ``Sec-Fetch-Site``.
        origin: The header ``Origin``.
        host: The host and port that the request is for, which have been checked.
        address: Where people find the service.

    Raises:
        CrossSiteRequest: naming the origin.
    """
    if fetch_site is not None:
        is_ours = fetch_site in ("same-origin", "none")
    elif origin is None or origin == address.origin:
        is_ours = True
    else:
        is_public = host_name(host) == address.name and not address.is_local
        is_ours = not is_public and _netloc(origin) == host
    if not is_ours:
        raise CrossSiteRequest(
            f"the request comes from a page of {(origin or 'another site')[:200]}; this service is at "
            f"{address.origin} (ATELIER_URL)"
        )


class UnsupportedEncoding(UnsupportedMediaType):
    """A body that is compressed; the answer says what is taken."""

    def get_headers(self, *words: Any, **how: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - as Werkzeug has it
        """Return the headers of the answer."""
        return [*super().get_headers(*words, **how), ("Accept-Encoding", "identity")]


def check_encoding(encoding: str | None) -> None:
    """Refuse a body that is compressed: read as it is, it would be called damaged.

    Raises:
        UnsupportedEncoding: naming the encoding.
    """
    if (encoding or "identity").strip().lower() not in ("identity", ""):
        raise UnsupportedEncoding(f"the body is encoded as '{(encoding or '')[:100]}'; send it as it is")


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # no address
        return None


def handle_traffic(app: Flask) -> None:
    """Give every request of an app an id, log it, and set its response headers."""
    app.before_request(_begin)
    app.after_request(_end)


def begin_request(environ: dict[str, Any]) -> str:
    """Begin to answer a request: return its id, which whatever is logged meanwhile has too.

    May be called again for the same request, whose id, trace and beginning it keeps.
    """
    given = environ.get("HTTP_X_REQUEST_ID", "")
    request_id: str = given if _REQUEST_ID.fullmatch(given) else new_id()
    environ["HTTP_X_REQUEST_ID"] = request_id
    environ.setdefault(_STARTED_KEY, time.monotonic())
    structlog.contextvars.clear_contextvars()
    traceparent = environ.setdefault(_TRACE_KEY, go_on(environ.get("HTTP_TRACEPARENT")))
    structlog.contextvars.bind_contextvars(request_id=request_id, **trace_facts(traceparent))
    return request_id


def current_traceparent() -> str:
    """Return the trace of the current request: the one that it came with, or one that begins with it."""
    traceparent: str = request.environ[_TRACE_KEY]
    return traceparent


def end_request(environ: Mapping[str, Any], media_type: str, status: int) -> list[tuple[str, str]]:
    """Log a request that has its answer; return the headers that every answer of this media type has."""
    path = environ["PATH_INFO"]
    say = _log.debug if path in _HEALTH and status < 400 else _log.info
    say(
        "request",
        method=environ["REQUEST_METHOD"],
        path=logged_path(path),
        status=status,
        client=environ.get("REMOTE_ADDR"),
        seconds=round(time.monotonic() - environ[_STARTED_KEY], 4),
    )
    # Pages may run our own files and show chosen pictures (blob:); everything else is forbidden.
    policy = ("Content-Security-Policy", _policy_of(media_type))
    quota = environ.get(QUOTA_KEY)
    fields = [] if quota is None else quota_fields([quota])
    return [("X-Request-Id", environ["HTTP_X_REQUEST_ID"]), *_HEADERS.items(), policy, *fields]


def logged_path(path: str) -> str:
    """Return a path as logs may hold it: without the token of a share link, however the path is written."""
    return _SHARE_PATH.sub(f"{SHARE_PATH}…", path)


def _begin() -> None:
    g.request_id = begin_request(request.environ)


def _end(response: Response) -> Response:
    if is_put_off(response):
        return response  # the answer belongs to the same request
    for name, value in end_request(request.environ, response.mimetype or "", response.status_code):
        response.headers.setdefault(name, value)
    return response


def _policy_of(media_type: str) -> str:
    if media_type == "text/html":
        return _PAGE_POLICY
    # An SVG is a document that could hold more than a picture.
    is_picture = media_type.startswith("image/") and "xml" not in media_type
    return _PICTURE_POLICY if is_picture else _FILE_POLICY

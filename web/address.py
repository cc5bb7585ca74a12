"""Where people find the service: what `ATELIER_URL` says, and the links that lead below its path.

A proxy may serve the service below a path of its own. It may pass that path on or take it off: both are
understood, and every link has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from shared.errors import InvalidSettings

_HOST = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?))"
    r"(?::[0-9]*)?"
)
#: Nothing that has to be quoted in a link, or that a proxy may write otherwise.
_ROOT = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
#: What the service's own paths begin with: a root that does, too, could not be told from them.
OWN_PATHS = frozenset(
    (
        "api",
        "docs",
        "favicon.ico",
        "healthz",
        "jobs",
        "metrics",
        "new",
        "openapi.json",
        "parts",
        "readyz",
        "share",
        "signin",
        "signout",
        "static",
        "webhooks",
        "workers",
    )
)
_DEFAULT_PORTS = {"http": 80, "https": 443}

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_root: ContextVar[str] = ContextVar("root", default="")


@dataclass(frozen=True)
class Address:
    """Where people find the service."""

    #: As browsers write it: ``https://styles.example:8443``, without a port that goes without saying.
    origin: str
    #: The host as names are compared, see `host_name`.
    name: str
    #: The path below which everything lies, such as ``/styles``; empty for none.
    root: str = ""

    @property
    def url(self) -> str:
        """The address of the first page, without a slash at its end."""
        return self.origin + self.root

    @property
    def is_local(self) -> bool:
        """Whether it is a name of this machine, which only its own people can use."""
        return is_loopback(self.name)


def parse_address(url: str) -> Address:
    """Return what `ATELIER_URL` says; a name and a password in it are for the command line alone.

    Raises:
        InvalidSettings: when it is no address that people can find the service at, saying why.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = parts.hostname or ""
        name = host_name(bracketed(host if host.isascii() else host.encode("idna").decode()))
    except (ValueError, UnicodeError):
        parts, port, name = SplitResult("", "", "", "", ""), None, None
    fault = _fault(parts, port, name)
    if fault is not None or name is None:
        raise InvalidSettings(
            f"ATELIER_URL is {url!r}: {fault}; write it such as https://styles.example or "
            "http://192.168.1.5:8000/styles"
        )
    is_default = port is None or port == _DEFAULT_PORTS[parts.scheme]
    origin = f"{parts.scheme}://{name}" + ("" if is_default else f":{port}")
    return Address(origin, name, parts.path.rstrip("/"))


def _fault(parts: SplitResult, port: int | None, name: str | None) -> str | None:
    if parts.scheme not in _DEFAULT_PORTS:
        return "it does not begin with http:// or https://"
    if name is None or port == 0:
        return "it names no host, or no port from 1 to 65535"
    if parts.query or parts.fragment:
        return "nothing may follow its path"
    if not _ROOT.fullmatch(parts.path.rstrip("/")):
        return "its path may have letters, digits, '-', '_', '~' and '.' between single slashes"
    first = parts.path.split("/")[1] if parts.path else ""
    if first in OWN_PATHS:
        return f"its path begins with '/{first}', as paths of the service itself do; choose another one"
    return None


def host_name(host: str) -> str | None:
    """Return the name in a ``Host`` header as names are compared; None when there is none.

    Without port and closing dot, in small letters; an address of version 6 in brackets, as short as it gets.
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    if found["six"]:
        try:
            return f"[{IPv6Address(found['six'])}]"
        except ValueError:
            return None
    return found["name"].lower().removesuffix(".") or None


def bracketed(host: str) -> str:
    """Return an address of version 6 in the brackets that it has in a ``Host`` header."""
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine itself, for itself alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def link(path: str) -> str:
    """Return a path of the service as a link to it, in the request that is being answered."""
    return _root.get() + path


def use_root(root: str) -> None:
    """Let links of this context, outside a request, begin with a root."""
    _root.set(root)


def below(path: str, root: str) -> str:
    """Return a path without the root, if it begins with it: a proxy may have taken it off already."""
    is_below = path == root or path.startswith(f"{root}/")
    return path[len(root) :] if root and is_below else path


class Mounted:
    """A WSGI app that lies below a path."""

    def __init__(self, app: WsgiApp, root: str) -> None:
        self._app = app
        self._root = root

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        # Also for what is sent after this call, such as an event stream: a request keeps its context.
        _root.set(self._root)
        environ["SCRIPT_NAME"] = self._root
        environ["PATH_INFO"] = below(environ.get("PATH_INFO", ""), self._root)
        return self._app(environ, start_response)

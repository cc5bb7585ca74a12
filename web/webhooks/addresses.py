"""Where webhooks may go: which addresses are asked for, and which machines they may lead to.

Whoever submits a job makes this service send a request, from inside its network. So a webhook goes to public
addresses alone, unless the operator allows a network. What counts is the number that a name leads to at the
moment of the connection (`web.webhooks.sender`); what is looked at before is how the address is written.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from shared.errors import WebhookRefused
from shared.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MAX_URL_CHARS = 2000
_PORTS = {"https": 443, "http": 80}
#: Of those that are public by their number: what clouds tell their machines' secrets from.
_METADATA = frozenset({ip_address("168.63.129.16")})
#: What IANA lists as of special use: what Python itself calls public of it depends on its release.
_SPECIAL = tuple(
    ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
        *("100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fec0::/10"),
    )
)
#: Version 6 around version 4, beside what `ipaddress` knows: compatible, translated, NAT64.
_AROUND_V4 = tuple(
    ip_network(each) for each in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)


@dataclass(frozen=True)
class WebhookRules:
    """What an operator allows beside https to public addresses."""

    allows_http: bool = False
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> WebhookRules:
        """Return the rules that the settings make."""
        named = settings.webhook_networks.replace(",", " ").split()
        return cls(settings.webhook_http, tuple(ip_network(each) for each in named))


@dataclass(frozen=True)
class Target:
    """An address that may be asked for, in its parts; `host` as it goes into a name look-up."""

    scheme: str
    host: str
    port: int
    #: Path and query.
    path: str

    @property
    def receiver(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        """What the header ``Host`` says: the port where it is not that of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def read_url(url: str, rules: WebhookRules) -> Target:
    """Return an address in its parts, if a webhook may go there as far as can be seen from it.

    Raises:
        WebhookRefused: saying what is wrong with it, and what is allowed.
    """
    if len(url) > MAX_URL_CHARS:
        raise WebhookRefused(f"it has {len(url)} characters; at most {MAX_URL_CHARS} are allowed")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise WebhookRefused("it has characters that no address has; write them as %XX, a name as xn--…")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise WebhookRefused("it is no address, such as https://example.com/hook") from None
    allowed = ("https", "http") if rules.allows_http else ("https",)
    if parts.scheme not in allowed:
        hint = "" if rules.allows_http else "; ATELIER_WEBHOOK_HTTP=1 allows http"
        begins = f"'{parts.scheme[:20]}:'" if parts.scheme else "no scheme"
        raise WebhookRefused(f"it begins with {begins}; allowed is {' or '.join(allowed)}{hint}")
    if parts.username is not None or parts.password is not None:
        raise WebhookRefused("it has a user or a password; what is sent is signed, which tells who sends it")
    if not host or port == 0 or "%" in host:
        raise WebhookRefused("it names no host, or no port from 1 to 65535")
    literal = _as_number(host)
    reason = None if literal is None else why_not(literal, rules)
    if reason is not None:
        raise WebhookRefused(f"{host} is {reason}; ATELIER_WEBHOOK_NETWORKS can allow its network")
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], _path_of(parts))


def why_not(address: Address, rules: WebhookRules) -> str | None:
    """Return what an address is that no webhook may go to, such as "a private address"; else None."""
    for one in _within(address):
        if any(one in network for network in rules.networks if network.version == one.version):
            return None
    return next((reason for one in _within(address) if (reason := _kind_of(one))), None)


def _kind_of(address: Address) -> str | None:
    """Return what is wrong with an address, without what it may have in it."""
    if address.is_loopback or address.is_unspecified:
        return "this machine itself"
    if address.is_link_local or address in _METADATA:
        return "an address of the machine's surroundings"
    if address.is_multicast:
        return "an address of many machines"
    is_special = any(address in network for network in _SPECIAL if network.version == address.version)
    return "a private address" if is_special or not address.is_global else None


def _within(address: Address) -> Iterator[Address]:
    """Yield an address, and that of version 4 that it stands for, or leads through."""
    if isinstance(address, IPv6Address):
        teredo = address.teredo or ()
        inner = [address.ipv4_mapped, address.sixtofour, *teredo]
        if any(address in network for network in _AROUND_V4) and int(address) > 1:
            inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
        found = [one for one in inner if one is not None]
        yield from found
        # What only stands for another address says nothing of its own.
        if address.ipv4_mapped is not None:
            return
    yield address


def _as_number(host: str) -> Address | None:
    """Return the address that a host is the number of, in whatever spelling; None of a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        # Also decimal, octal and hexadecimal ones, and those with fewer dots: name look-ups read them so.
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _path_of(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def choose_addresses(found: Sequence[str], rules: WebhookRules) -> list[str]:
    """Return the addresses that a name leads to, all of which a webhook may go to.

    Raises:
        WebhookRefused: when there is none, or one of them is not allowed: a name that leads to both is made
            for getting past this.
    """
    if not found:
        raise WebhookRefused("its name leads nowhere")
    for text in found:
        reason = why_not(ip_address(text.partition("%")[0]), rules)
        if reason is not None:
            raise WebhookRefused(f"its name leads to {reason}")
    return list(found)

"""Sending one message: to the machine that was looked at, and to no other.

A name may lead to a public machine when it is looked at, and to this one when it is connected to. So names
are looked up here, at each connection, what they lead to is judged, and that very number is connected to; TLS
still asks for the name. Redirects are followed a few times, each as if it were a new address. No proxy,
cookie or login of this process goes along, and a receiver can hold up or fill nothing: time and bytes are
bounded.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urljoin

import httpcore2

from shared.errors import WebhookRefused
from shared.release import this_release
from web.webhooks.addresses import Target, WebhookRules, choose_addresses, read_url
from web.webhooks.message import Answer

CONNECT_SECONDS = 5.0
#: For all of an attempt, redirects and name look-ups included.
TOTAL_SECONDS = 15.0
MAX_REDIRECTS = 3
_ANSWER_BYTES = 1024
#: 303 would have the message turned into a question.
_REDIRECTS = frozenset({301, 302, 307, 308})


class _Guarded(httpcore2.AsyncNetworkBackend):
    """Connects to names whose addresses are all allowed, by those addresses."""

    def __init__(self, rules: WebhookRules) -> None:
        self._rules = rules
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of a name that answers."""
        chosen = choose_addresses(await _look_up(host, port), self._rules)
        for number, address in enumerate(chosen, start=1):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(chosen):
                    raise
        raise AssertionError("there is at least one address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def _look_up(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"its name leads nowhere: {error}") from error
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class Sender:
    """Sends messages, many at once, in one event loop; as an asynchronous context.

    `ssl_context` says whose certificates are believed; those that this machine believes by default.
    """

    def __init__(self, rules: WebhookRules, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._rules = rules
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or ssl.create_default_context(),
            max_connections=None,
            # A connection that is kept leads where it was judged to lead, but not for long.
            max_keepalive_connections=20,
            keepalive_expiry=10,
            network_backend=_Guarded(rules),
        )

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._pool.aclose()

    async def send(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """Send a message; whatever goes wrong is told in what is returned."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                return await self._follow(url, headers, body)
        except TimeoutError:
            return Answer(error=f"no answer within {TOTAL_SECONDS:g} s")
        except WebhookRefused as error:
            return Answer(error=f"the address is refused: {error.detail}")
        except (httpcore2.TimeoutException, httpcore2.NetworkError) as error:
            return Answer(error=_words(error, "no connection"))
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            return Answer(error=_words(error, "the answer is not HTTP"))
        except (OSError, ValueError) as error:
            return Answer(error=_words(error, "it cannot be sent"))

    async def _follow(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer, leads_to = await self._post(read_url(url, self._rules), headers, body)
            if leads_to is None:
                return answer
            url = urljoin(url, leads_to)
        return Answer(status=answer.status, error=f"more than {MAX_REDIRECTS} redirects")

    async def _post(
        self, target: Target, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[Answer, str | None]:
        """Return the answer, and where it leads if it is a redirect."""
        sent = [
            ("host", target.host_header),
            ("user-agent", f"Atelier/{this_release().version}"),
            ("accept", "*/*"),
            ("content-length", str(len(body))),
            *headers,
        ]
        url = httpcore2.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        waits = {"connect": CONNECT_SECONDS, **dict.fromkeys(("read", "write", "pool"), TOTAL_SECONDS)}
        async with self._pool.stream(
            b"POST",
            url,
            headers=[(name.encode(), value.encode()) for name, value in sent],
            content=body,
            extensions={"timeout": waits},
        ) as response:
            told = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in told:
                return Answer(status=response.status), told[b"location"]
            text = await _beginning(response)
        return (
            Answer(
                status=response.status,
                text=text,
                retry_after_seconds=_seconds(told.get(b"retry-after", "")),
            ),
            None,
        )


async def _beginning(response: httpcore2.Response) -> str:
    """Return the first 1 kB of an answer's body; the rest is not read."""
    data = bytearray()
    async for piece in response.aiter_stream():
        data += piece
        if len(data) >= _ANSWER_BYTES:
            break
    text = bytes(data[:_ANSWER_BYTES]).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def _seconds(text: str) -> float | None:
    """Return what ``Retry-After`` asks for, if it says it in seconds."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _words(error: Exception, otherwise: str) -> str:
    text = str(error).strip()
    return f"{otherwise}: {text[:300]}" if text else f"{otherwise} ({type(error).__name__})"

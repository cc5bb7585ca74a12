"""Sending to real receivers, and to those that one must not get to."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.support.receiver import Receiver, Reply, Told
from tests.support.tls import make_authority, make_certificate
from web.webhooks import sender as sending
from web.webhooks.addresses import WebhookRules
from web.webhooks.message import Answer
from web.webhooks.sender import MAX_REDIRECTS, Sender

#: What an operator allows in these tests: one address of loopback, not that of the canary.
ALLOWED = "127.0.0.2"
RULES = WebhookRules(allows_http=True, networks=(ip_network(f"{ALLOWED}/32"),))
HEADERS = [("webhook-id", "msg_1"), ("content-type", "application/json")]


def send(url: str, *, rules: WebhookRules = RULES, trusted: Path | None = None) -> Answer:
    async def once() -> Answer:
        context = None if trusted is None else ssl.create_default_context(cafile=str(trusted))
        async with Sender(rules, ssl_context=context) as sender:
            return await sender.send(url, HEADERS, b'{"a":1}')

    # A browser of an earlier test may have left its event loop to this thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(once())).result()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(host=ALLOWED) as receiver:
        yield receiver


@pytest.fixture
def canary() -> Iterator[Receiver]:
    """Listens where no webhook may go; nothing ever gets there."""
    with Receiver() as canary:
        yield canary
        assert canary.told == []


def test_a_message_gets_there_as_it_is(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    receiver.reply = lambda _: Reply(200, {"Retry-After": "7"}, b"thanks")
    assert send(receiver.url("/hook?to=me")) == Answer(200, text="thanks", retry_after_seconds=7)
    (told,) = receiver.told
    assert (told.path, told.body, told.id) == ("/hook?to=me", b'{"a":1}', "msg_1")
    assert told.headers["host"] == f"{ALLOWED}:{receiver.port}"
    assert told.headers["user-agent"].startswith("Atelier/")
    assert not {"cookie", "authorization"} & told.headers.keys()


def test_only_the_beginning_of_an_answer_is_read(receiver: Receiver):
    receiver.reply = lambda _: Reply(500, body=b"x" * 10_000_000)
    answer = send(receiver.url())
    assert (answer.status, answer.text) == (500, "x" * 1024)
    receiver.reply = lambda _: Reply(500, body=b"\x00\xff\x1b[31m")
    assert send(receiver.url()).text == "\ufffd\ufffd\ufffd[31m"


def test_redirects_are_followed_a_few_times_with_the_message(receiver: Receiver):
    left = [MAX_REDIRECTS]

    def lead_on(told: Told) -> Reply:
        if left[0] == 0:
            return Reply(200)
        left[0] -= 1
        return Reply((307, 301, 302)[left[0] % 3], {"Location": f"/{left[0]}"})

    receiver.reply = lead_on
    assert send(receiver.url()).status == 200
    assert [(told.path, told.body) for told in receiver.told] == [
        (path, b'{"a":1}') for path in ("/hook", "/2", "/1", "/0")
    ]
    receiver.told.clear()
    receiver.reply = lambda _: Reply(308, {"Location": "/again"})
    answer = send(receiver.url())
    assert (answer.status, answer.is_taken) == (308, False)
    assert answer.error == "more than 3 redirects"
    assert len(receiver.told) == MAX_REDIRECTS + 1


def test_a_redirect_leads_nowhere_that_a_webhook_may_not_go(receiver: Receiver, canary: Receiver):
    places = [
        canary.url(),
        canary.url(host="localhost"),
        canary.url(host="2130706433"),
        f"//127.0.0.1:{canary.port}/x",
        f"http://me@127.0.0.1:{canary.port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
    ]
    for place in places:
        receiver.reply = lambda _, place=place: Reply(302, {"Location": place})
        answer = send(receiver.url())
        assert answer.status is None
        assert "refused" in (answer.error or ""), place


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "localhost.", "LOCALHOST", "127.1", "0", "0.0.0.0", "2130706433"),
        *("0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "[::1]", "[::]", "[::ffff:127.0.0.1]"),
        *("[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:ffff:7f00:0001]"),
    ],
)
def test_no_spelling_of_this_machine_gets_to_the_canary(canary: Receiver, host: str):
    answer = send(canary.url(host=host))
    assert answer.status is None
    assert "refused" in (answer.error or "") or "no connection" in (answer.error or "")


def test_a_name_is_judged_by_the_number_that_is_connected_to(
    receiver: Receiver, canary: Receiver, monkeypatch: pytest.MonkeyPatch
):
    """A name that leads to a public machine at the first look, and to this one at the second."""
    looks = []

    async def look_up(host: str, port: int) -> list[str]:
        looks.append(host)
        return [ALLOWED] if len(looks) == 1 else ["127.0.0.1"]

    monkeypatch.setattr(sending, "_look_up", look_up)
    assert send(f"http://rebind.example:{receiver.port}/").status == 204
    assert looks == ["rebind.example"]
    assert receiver.told[0].headers["host"] == f"rebind.example:{receiver.port}"
    assert "refused" in (send(f"http://rebind.example:{canary.port}/").error or "")


def test_a_name_that_leads_to_both_is_refused(canary: Receiver, monkeypatch: pytest.MonkeyPatch):
    async def look_up(host: str, port: int) -> list[str]:
        return [ALLOWED, "127.0.0.1"]

    monkeypatch.setattr(sending, "_look_up", look_up)
    assert "this machine itself" in (send(f"http://both.example:{canary.port}/").error or "")


def test_tls_asks_for_the_name_and_believes_only_known_authorities(tmp_path: Path):
    authority = make_authority(tmp_path, "authority")
    good = make_certificate(tmp_path, "good", authority=authority, host=f"IP:{ALLOWED}")
    other = make_certificate(tmp_path, "other", authority=authority, host="DNS:example.com")
    for certificate, status in ((good, 204), (other, None)):
        with Receiver(host=ALLOWED, certificate=(str(certificate.file), str(certificate.key))) as receiver:
            answer = send(receiver.url(), trusted=authority.file)
            assert answer.status == status
            if status is None:
                assert "certificate" in (answer.error or "")
                assert receiver.told == []
    with Receiver(host=ALLOWED, certificate=(str(good.file), str(good.key))) as receiver:
        assert "certificate" in (send(receiver.url()).error or "")


def test_nobody_there_is_told(receiver: Receiver):
    port = receiver.port
    receiver.__exit__()
    receiver.__enter__ = lambda: receiver  # type: ignore[method-assign]
    answer = send(f"http://{ALLOWED}:{port}/")
    assert (answer.status, answer.is_taken) == (None, False)
    assert (answer.error or "").startswith("no connection")
    assert "leads nowhere" in (send("http://nobody.invalid/").error or "")


class Odd:
    """A server that answers with bytes of its own, and then does something else."""

    def __init__(self, sent: bytes, *, hangs: bool) -> None:
        self._listener = socket.create_server((ALLOWED, 0))
        self._sent, self._hangs = sent, hangs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://{ALLOWED}:{self._listener.getsockname()[1]}/"

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # nobody may have come
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            connection.sendall(self._sent)
            if self._hangs:
                self._over.wait()


@pytest.mark.parametrize(
    "sent", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 2"]
)
def test_an_answer_that_is_none_is_told(sent: bytes):
    with Odd(sent, hangs=False) as url:
        answer = send(url)
    assert answer.status is None
    assert answer.error


_HANGING = [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]


@pytest.mark.parametrize("sent", _HANGING)
def test_a_receiver_that_hangs_is_not_waited_for_for_ever(sent: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.3)
    with Odd(sent, hangs=True) as url:
        assert send(url) == Answer(error="no answer within 0.3 s")


def test_the_addresses_of_these_tests_are_what_they_are_taken_for():
    assert ip_address(ALLOWED) in RULES.networks[0]
    assert ip_address("127.0.0.1") not in RULES.networks[0]

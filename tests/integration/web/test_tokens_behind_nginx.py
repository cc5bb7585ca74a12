"""Tokens behind a real nginx with TLS, set up as the docs say, word by word."""

from __future__ import annotations

import io
import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from PIL import Image

from shared.settings import Settings
from tests.support.nginx import Nginx, documented_block, read_status
from tests.support.ports import free_port
from tests.support.tls import make_authority, make_certificate
from tests.support.web_process import WebProcess
from web.access.attempts import MOST
from web.cli.local.redis_server import RedisServer
from web.cli.main import main

pytestmark = pytest.mark.process
NAME = "styles.example"
API = "/api/v1"
#: Two machines, as nginx sees them.
ONE, OTHER = "127.0.0.1", "127.0.0.2"


@dataclass(frozen=True)
class Behind:
    """A service that only nginx reaches, a token for it, and where people find it."""

    web: WebProcess
    token: str
    port: int
    authority: Path

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    def client(self, address: str = ONE, *, token: str = "") -> httpx2.Client:
        """Return a client on the machine with this address; a browser, if it has no token."""
        context = ssl.create_default_context(cafile=self.authority)
        return httpx2.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={
                "Host": f"{NAME}:{self.port}",
                **({"Authorization": f"Bearer {token}"} if token else {"Origin": self.origin}),
            },
            transport=_Named(httpx2.HTTPTransport(local_address=address, verify=context)),
            timeout=60,
        )


class _Named(httpx2.BaseTransport):
    """Connects to the address, and asks for the name."""

    def __init__(self, transport: httpx2.HTTPTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions["sni_hostname"] = NAME
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()


@pytest.fixture(scope="module")
def behind(tmp_path_factory, redis_server: RedisServer) -> Iterator[Behind]:
    folder, port = tmp_path_factory.mktemp("behind"), free_port()
    authority = make_authority(folder, "authority")
    certificate = make_certificate(folder, "proxy", authority=authority, host=f"DNS:{NAME}")
    settings = Settings(
        redis_url=redis_server.url,
        data_dir=folder / "data",
        vgg19_weights="untrained",
        min_free_bytes=0,
        url=f"https://{NAME}:{port}",
        trusted_proxies=1,
    )
    made = CliRunner(env=settings.to_environ()).invoke(main, ["token", "create", "me", "--scope", "admin"])
    assert made.exit_code == 0, made.stderr
    web = WebProcess(settings)
    web.start()
    block = documented_block(has_login=False)
    for old, new in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/ssl/styles.example.pem", str(certificate.file)),
        ("/etc/ssl/styles.example.key", str(certificate.key)),
        ("http://127.0.0.1:8000", web.url),
    ):
        assert old in block, old
        block = block.replace(old, new)
    with Nginx(folder / "nginx", block, port=port):
        yield Behind(web, made.stdout.strip(), port, authority.file)
    web.end()


def test_a_browser_signs_in_and_its_cookie_goes_over_tls_alone(behind: Behind):
    with behind.client() as browser:
        page = browser.get("/workers", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["Location"]) == (303, "/signin?next=/workers")
        done = browser.post("/signin", data={"token": behind.token, "next": "/workers"})
        assert (done.status_code, done.headers["Location"]) == (303, "/workers")
        cookie = done.headers["Set-Cookie"]
        assert cookie.startswith("atelier_session=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
        shown = {"Cookie": cookie.partition(";")[0]}
        page = browser.get("/workers", headers={"Accept": "text/html", **shown})
        assert page.status_code == 200
        (csrf,) = set(re.findall(r'name="csrf-token" content="(\w+)"', page.text))
        out = browser.post("/signout", data={"csrf_token": csrf}, headers=shown)
        assert out.headers["Location"] == "/signin"
        assert browser.get(f"{API}/jobs", headers=shown).status_code == 401


def test_attempts_are_counted_by_the_address_of_the_client_whatever_it_says_of_itself(behind: Behind):
    wrong = {"token": "atelier_" + "x" * 43}
    with behind.client(OTHER) as guesser, behind.client() as browser:
        for number in range(MOST):
            headers = {"X-Forwarded-For": f"203.0.113.{number}"}
            assert guesser.post("/signin", data=wrong, headers=headers).status_code == 401
        assert guesser.post("/signin", data=wrong).status_code == 429
        assert browser.post("/signin", data={"token": behind.token}).status_code == 303
        assert guesser.get("/signin").status_code == 200  # it may look, and others on its machine may work
    attempts = [line for line in _requests(behind) if line["path"] == "/signin" and line["status"] == 429]
    assert [line["client"] for line in attempts] == [OTHER]
    assert wrong["token"] not in "".join(behind.web.log)
    assert behind.token not in "".join(behind.web.log)


def test_the_largest_picture_comes_through_and_a_job_is_watched_as_it_goes_on(behind: Behind):
    large = _bitmap(2880)
    assert 24_000_000 < len(large) < 25_000_000
    with behind.client(token=behind.token) as program:
        stored = program.post(f"{API}/assets", files={"file": ("large.bmp", large)})
        assert stored.status_code == 201, stored.text
        body = {part: stored.json()["id"] for part in ("content", "style")}
        job = program.post(f"{API}/jobs", json=body).json()
        with program.stream("GET", job["urls"]["events"]) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            assert read_status(lines) == "queued"
            assert program.post(job["urls"]["cancel"]).status_code == 200
            # It comes though the stream goes on: nothing on the way keeps it back.
            assert read_status(lines) == "canceled"


def _requests(behind: Behind) -> list[dict[str, Any]]:
    return [json.loads(line) for line in behind.web.log if '"event": "request"' in line]


def _bitmap(side_px: int) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((side_px, side_px)).convert("RGB").save(buffer, "BMP")
    return buffer.getvalue()

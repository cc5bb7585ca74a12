"""The service behind a real nginx, whose block is the one in the docs, and what people make of it."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shared.settings import Settings
from tests.support.nginx import Nginx, documented_block, read_status
from tests.support.ports import free_port
from tests.support.tls import make_authority, make_certificate
from tests.support.web_process import WebProcess
from web.cli.client import ApiClient, JobFields
from web.cli.local.redis_server import RedisServer

pytestmark = pytest.mark.process
NAME = "styles.example"
LOGIN = ("me", "not so secret")
API = "/api/v1"
EXAMPLES = Path(__file__).parents[3] / "examples"
_FORWARDED = re.compile(r" *proxy_set_header (Host|X-Forwarded-\w+) .*\n")
_GZIP = "gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;"


@dataclass(frozen=True)
class Way:
    """How the proxy leads to the service: what is changed in the documented block."""

    scheme: str = "https"
    root: str = ""
    change: Callable[[str], str] = lambda block: block


WAYS = {
    "as documented": Way(),
    "compressed": Way(change=lambda block: block.replace("location /", f"{_GZIP} location /")),
    "not buffered": Way(
        change=lambda block: block.replace(
            "location /", "proxy_buffering off; proxy_request_buffering off; location /"
        )
    ),
    "told no host": Way(change=lambda block: _FORWARDED.sub("", block)),
    "told a host without its port": Way(change=lambda block: block.replace("Host $http_host", "Host $host")),
    "of the older protocol": Way(change=lambda block: re.sub(r" *proxy_http_version .*\n", "", block)),
    "plain": Way("http", change=lambda block: re.sub(r" *ssl_.*\n", "", block).replace(" ssl;", ";")),
    "below a path": Way(root="/styles"),
    "below a path that is taken off": Way(
        root="/styles", change=lambda block: re.sub(r"(proxy_pass .*);", r"\1/;", block)
    ),
}


class Visitor:
    """A client on the other side of the proxy, who knows its name, trusts its authority and logs in."""

    def __init__(self, port: int, way: Way, authority: Path) -> None:
        self.origin = f"{way.scheme}://{NAME}:{port}"
        self.root = way.root
        self._client = httpx2.Client(
            base_url=f"{way.scheme}://127.0.0.1:{port}",
            headers={"Host": f"{NAME}:{port}"},
            auth=LOGIN,
            verify=ssl.create_default_context(cafile=authority),
            timeout=60,
            trust_env=False,
        )

    def ask(self, method: str, link: str, **more: Any) -> httpx2.Response:
        """Send a request; `link` is as the service gave it, the root included."""
        return self._client.request(method, link, extensions={"sni_hostname": NAME}, **more)

    def stream(self, link: str) -> Any:
        return self._client.stream("GET", link, extensions={"sni_hostname": NAME})

    def post(self, link: str, **more: Any) -> httpx2.Response:
        """Send what a page of the service would send, in a browser that knows no `Sec-Fetch-Site`."""
        return self.ask("POST", link, headers={"Origin": self.origin, **more.pop("headers", {})}, **more)

    def submit(self) -> dict[str, Any]:
        """Submit a job of the example pictures."""
        names = ("content", "style")
        files = {name: (f"{name}.png", (EXAMPLES / f"{name}.png").read_bytes()) for name in names}
        answer = self.post(f"{self.root}{API}/jobs", files=files, data={"reuse": "false"})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        assert answer.headers["Location"] == job["urls"]["self"] == f"{self.root}{API}/jobs/{job['id']}"
        return job

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Who signs the proxy's certificate, and the certificate."""
    folder = tmp_path_factory.mktemp("certificates")
    signer = make_authority(folder, "authority")
    return signer, make_certificate(folder, "proxy", authority=signer, host=f"DNS:{NAME}")


@pytest.fixture(scope="module")
def start(tmp_path_factory, redis_server: RedisServer, authority):
    """Starts a web process for a public address; one for each scheme and root."""
    running: dict[tuple[str, str], tuple[WebProcess, int]] = {}

    def do(way: Way) -> tuple[WebProcess, int]:
        key = (way.scheme, way.root)
        if key not in running:
            port = free_port()
            settings = Settings(
                redis_url=redis_server.url,
                data_dir=tmp_path_factory.mktemp("behind"),
                vgg19_weights="untrained",
                min_free_bytes=0,
                url=f"{way.scheme}://{NAME}:{port}{way.root}",
                trusted_proxies=1,
            )
            web = WebProcess(settings)
            web.start()
            running[key] = (web, port)
        return running[key]

    yield do
    for web, _ in running.values():
        web.end()


@pytest.fixture(params=WAYS)
def visitor(request, start, authority, tmp_path: Path) -> Iterator[Visitor]:
    """A visitor who comes one of the ways."""
    yield from visit(WAYS[request.param], start, authority, tmp_path)


def visit(way: Way, start, authority, folder: Path) -> Iterator[Visitor]:
    signer, certificate = authority
    web, port = start(way)
    users = folder / "users"
    users.write_text(f"{LOGIN[0]}:{_hashed(LOGIN[1])}\n")
    changes = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/ssl/styles.example.pem": str(certificate.file),
        "/etc/ssl/styles.example.key": str(certificate.key),
        "/etc/nginx/atelier.users": str(users),
        "http://127.0.0.1:8000": web.url,
        "location / {": f"location {way.root}/ {{",
    }
    block = documented_block(has_login=True)
    for old, new in changes.items():
        assert old in block, old
        block = block.replace(old, new)
    changed = way.change(block)
    assert way.change(documented_block(has_login=True)) != documented_block(has_login=True) or way in (
        WAYS["as documented"],
        Way(root="/styles"),
    )
    with Nginx(folder / "nginx", changed, port=port):
        client = Visitor(port, way, signer.file)
        yield client
        client.close()


def _hashed(password: str) -> str:
    done = subprocess.run(
        ["openssl", "passwd", "-apr1", password], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_who_does_not_log_in_sees_nothing(visitor: Visitor):
    answer = visitor.ask("GET", f"{visitor.root}/", auth=("me", "wrong"))
    assert answer.status_code == 401


def test_every_link_of_every_page_and_answer_leads_to_the_service(visitor: Visitor):
    job = visitor.submit()
    pages = ["/", "/new", "/workers", "/docs", f"/jobs/{job['id']}", "/jobs/none"]
    links = {job["urls"]["thumbnail"], job["urls"]["checkpoints"], job["input"]["content"]["url"]}
    for page in pages:
        answer = visitor.ask("GET", visitor.root + page, headers={"Accept": "text/html"})
        assert answer.status_code == (404 if page == "/jobs/none" else 200), page
        found = re.findall(r'(?:href|src)="(/[^"]*)"', answer.text)
        assert found, page
        links |= {link.replace("&amp;", "&") for link in found}
        forms = re.findall(r'(?:action|data-(?!root|fault)[\w-]+)="(/[^"]*)"', answer.text)
        for link in (*found, *forms):
            assert link.startswith(f"{visitor.root}/"), link
    for link in sorted(links):
        answer = visitor.ask("GET", link.partition("#")[0])
        assert answer.status_code == 200, link
    for answer in (
        visitor.ask("GET", job["urls"]["self"]),
        visitor.ask("GET", f"{visitor.root}{API}/nothing"),
    ):
        for link in re.findall(r'"(/(?:api|docs|jobs|styles)[^"]*)"', answer.text):
            assert link.startswith(f"{visitor.root}/"), link


def test_a_form_leads_on_and_other_sites_are_refused(visitor: Visitor):
    job = visitor.submit()
    form = f"{visitor.root}/jobs/{job['id']}/pause"
    for origin in ("https://evil.example", f"{visitor.origin}0", "null", f"https://{NAME}.evil.example"):
        answer = visitor.post(form, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), origin
    other = (
        visitor.origin.replace("https:", "http:")
        if "https:" in visitor.origin
        else "https" + visitor.origin[4:]
    )
    assert visitor.post(form, headers={"Origin": other}).status_code == 403
    answer = visitor.post(form)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(f"{visitor.root}/jobs/{job['id']}")


def test_events_come_while_they_happen_and_a_wait_is_answered_at_the_change(visitor: Visitor):
    job = visitor.submit()
    with visitor.stream(job["urls"]["events"]) as answer:
        lines = answer.iter_lines()
        assert read_status(lines) == "queued"
        # It comes though the stream goes on: nothing on the way keeps it back.
        assert visitor.post(job["urls"]["cancel"]).status_code == 200
        assert read_status(lines) == "canceled"


def test_what_a_client_keeps_is_known_again_also_compressed(visitor: Visitor):
    job = visitor.submit()
    first = visitor.ask("GET", job["urls"]["self"], headers={"Accept-Encoding": "gzip"})
    again = visitor.ask(
        "GET", job["urls"]["self"],
        headers={"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"], "Prefer": "wait=1"},
    )  # fmt: skip
    assert (again.status_code, again.content) == (304, b"")
    assert "wait=" in again.headers.get("Preference-Applied", "wait=")
    picture = visitor.ask("GET", job["input"]["content"]["url"], headers={"Range": "bytes=0-3"})
    assert (picture.status_code, picture.content) == (206, b"\x89PNG")


def test_what_is_too_large_is_refused_by_the_service_itself(visitor: Visitor):
    files = {"file": ("large.png", b"\x89PNG\r\n\x1a\n" + bytes(26_000_000))}
    answer = visitor.post(f"{visitor.root}{API}/assets", files=files)
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")


def test_the_log_names_the_client_and_nobody_can_pretend(start, authority, tmp_path: Path):
    way = WAYS["below a path"]
    web, _ = start(way)
    for visitor in visit(way, start, authority, tmp_path):
        forged = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "evil.example"}
        assert (
            visitor.ask("GET", f"{visitor.root}{API}/jobs?label=forged:yes", headers=forged).status_code
            == 200
        )
    last = [json.loads(line) for line in web.log if '"event": "request"' in line][-1]
    assert last["client"] == "127.0.0.1"


def test_the_command_line_comes_the_same_way(start, authority, tmp_path: Path):
    way = Way("http", "/styles", WAYS["plain"].change)
    for visitor in visit(way, start, authority, tmp_path):
        port = visitor.origin.rpartition(":")[2]
        login = "me:not%20so%20secret"
        # The name would have to be known to the machine: it is asked for by the loopback address.
        with ApiClient(f"http://{login}@127.0.0.1:{port}/styles") as client:
            content, style = EXAMPLES / "content.png", EXAMPLES / "style.png"
            job = client.submit(content, style, JobFields({}, reuse=False)).job
            assert client.find_job(job.id[:13]) == job.id
            url = visitor.ask("GET", f"/styles{API}/jobs/{job.id}").json()["input"]["style"]["url"]
            assert b"".join(client.download(url)) == style.read_bytes()
            assert client.page(job.id) == f"http://127.0.0.1:{port}/styles/jobs/{job.id}"
            assert visitor.ask("GET", f"/styles/jobs/{job.id}").status_code == 200

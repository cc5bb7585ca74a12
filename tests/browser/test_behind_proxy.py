"""A visitor who comes through a proxy: below a path, with a login and another name; with TLS and a token."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import expect

from shared.clock import utc_now
from shared.settings import Settings
from tests.browser.new_job_form import choose_both, start
from tests.support.control import say_control_runs
from tests.support.nginx import Nginx, documented_block
from tests.support.ports import free_port
from tests.support.tls import make_authority, make_certificate
from tests.support.visitor import PROXY_NAME, Visitor
from tests.support.waiting import wait_until
from tests.support.website import Site
from web.access.tokens import Scope, create_token
from web.cli.local.redis_server import RedisServer

LOGIN = {"username": "me", "password": "not so secret"}


class Behind(NamedTuple):
    """A service, and where people find it."""

    site: Site
    url: str


@pytest.fixture(scope="module")
def behind(tmp_path_factory, redis_server: RedisServer) -> Iterator[Behind]:
    """A service below a path. The proxy takes the path off and passes neither host nor port on."""
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    url = f"http://{PROXY_NAME}:{port}/styles"
    site = Site(
        Settings(
            redis_url=redis_server.url,
            data_dir=folder / "data",
            vgg19_weights="untrained",
            min_free_bytes=0,
            url=url,
        )
    )
    site.start()
    say_control_runs(site.services.backend.redis)
    words = ["openssl", "passwd", "-apr1", LOGIN["password"]]
    hashed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    (folder / "users").write_text(f"me:{hashed}\n")
    block = re.sub(r" *(?:ssl_|proxy_set_header (?:Host|X-)).*\n", "", documented_block(has_login=True))
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port}"),
        ("/etc/nginx/atelier.users", str(folder / "users")),
        ("http://127.0.0.1:8000", f"{site.url}/"),
        ("location / {", "location /styles/ {"),
    ):
        assert old in block, old
        block = block.replace(old, new)
    with Nginx(folder / "nginx", block, port=port):
        yield Behind(site, url)
    site.close()


def test_a_visit_below_a_path(behind: Behind, visitor: Visitor):
    page = visitor.open(f"{behind.url}/new", http_credentials=LOGIN)
    choose_both(page)
    start(page)
    expect(page).to_have_url(re.compile(re.escape(behind.url) + "/jobs/[0-9a-f-]{36}$"))
    job_id = page.url.rsplit("/", 1)[1]
    standing = page.locator("[data-part=standing]")
    expect(standing).to_contain_text("queued")

    # What happens is seen through the proxy as it happens, and actions reach the service.
    workshop = behind.site.workshop
    workshop.connect()
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 10)
    expect(standing).to_contain_text("running")
    expect(page.locator("[data-shown] img")).to_have_js_property("complete", True)
    page.get_by_role("button", name="Pause").click()
    expect(standing).to_contain_text("Pausing")
    page.get_by_role("link", name="Jobs").first.click()
    expect(page).to_have_url(f"{behind.url}/")
    expect(page.locator(f"a[href='/styles/jobs/{job_id}']").first).to_be_visible()
    page.get_by_role("link", name="Workers").first.click()
    page.locator("summary").filter(has_text="Drain").click()
    page.get_by_role("button", name="Drain it now").click()
    expect(page.get_by_text("draining").first).to_be_visible()


def test_forms_work_there_without_scripts(behind: Behind, visitor: Visitor):
    job_id = behind.site.submit()["id"]
    page = visitor.open(f"{behind.url}/jobs/{job_id}", scripts=False, http_credentials=LOGIN)
    page.get_by_role("button", name="Pause").click()
    expect(page).to_have_url(re.compile(re.escape(f"{behind.url}/jobs/{job_id}")))
    expect(page.locator("[data-part=standing]")).to_contain_text("paused")


@pytest.fixture
def over_tls(tmp_path_factory, redis_server: RedisServer) -> Iterator[Behind]:
    """A service with a token behind a proxy with TLS, set up as the docs say."""
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    certificate = make_certificate(
        folder, "proxy", authority=make_authority(folder, "authority"), host=f"DNS:{PROXY_NAME}"
    )
    url = f"https://{PROXY_NAME}:{port}"
    site = Site(
        Settings(
            redis_url=redis_server.url,
            data_dir=folder / "data",
            vgg19_weights="untrained",
            min_free_bytes=0,
            url=url,
            trusted_proxies=1,
        )
    )
    site.start()
    say_control_runs(site.services.backend.redis)
    block = documented_block(has_login=False)
    for old, new in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/ssl/styles.example.pem", str(certificate.file)),
        ("/etc/ssl/styles.example.key", str(certificate.key)),
        ("http://127.0.0.1:8000", site.url),
    ):
        assert old in block, old
        block = block.replace(old, new)
    with Nginx(folder / "nginx", block, port=port):
        yield Behind(site, url)
    site.close()


def test_a_visit_over_tls_with_a_token(over_tls: Behind, visitor: Visitor):
    with over_tls.site.services.backend.database.write() as session:
        made = create_token(
            session, name="me", scopes={Scope.ADMIN}, caller=None, expires_at=None, now=utc_now()
        )
    wait_until(over_tls.site.asks_for_a_token, seconds=20)
    page = visitor.open(f"{over_tls.url}/new", ignore_https_errors=True)
    expect(page).to_have_url(f"{over_tls.url}/signin?next=/new")
    page.get_by_label("Token").fill(made.text)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{over_tls.url}/new")
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (
        "atelier_session",
        True,
        True,
        "Strict",
    )
    choose_both(page)
    start(page)
    expect(page).to_have_url(re.compile("/jobs/"))
    workshop = over_tls.site.workshop
    workshop.connect()
    workshop.claim(page.url.rsplit("/", 1)[1])
    expect(page.locator("[data-part=standing]")).to_contain_text("running")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("[data-part=standing]")).to_contain_text("Pausing")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{over_tls.url}/signin")
    assert page.context.cookies() == []

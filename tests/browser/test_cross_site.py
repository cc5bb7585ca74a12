"""What a page of another site makes a visitor's browser send changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from tests.support.visitor import Visitor
from tests.support.website import Site

_PAGE = b"""<!doctype html><title>Cats</title>
<form method="post"><button>More cats</button></form>"""
#: Whether the answer may be seen; the request is sent in any case.
_POST = """(url) => fetch(url, { method: "POST", mode: "no-cors" }).then(({ ok }) => ok, () => false)"""


class _Cats(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(_PAGE if self.path == "/" else b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of another site: another name, too, since a port alone makes no other site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Cats) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_another_sites_page_can_ask_nothing_of_a_job(site: Site, visitor: Visitor, elsewhere: str):
    visitor.expects("403", "BLOCKED_BY_RESPONSE")
    job_id = site.submit()["id"]
    page = visitor.open(elsewhere)
    with page.expect_request(f"{site.url}/api/v1/jobs/*/cancel"):
        assert not page.evaluate(_POST, f"{site.url}/api/v1/jobs/{job_id}/cancel")
    assert site.job(job_id)["status"] == "queued"

    form = page.locator("form")
    form.evaluate("(form, url) => { form.action = url; }", f"{site.url}/jobs/{job_id}/cancel")
    form.get_by_role("button").click()
    expect(page.get_by_text("the request comes from a page of")).to_be_visible()
    assert site.job(job_id)["status"] == "queued"

    # The very same request by our own page is granted.
    page.goto(f"{site.url}/docs")
    assert page.evaluate(_POST, f"{site.url}/api/v1/jobs/{job_id}/cancel")
    assert site.job(job_id)["status"] == "canceled"

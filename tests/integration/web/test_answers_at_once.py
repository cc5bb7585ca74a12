"""What the front answers in its event loop, without a thread."""

from __future__ import annotations

import json

import pytest

from tests.support.loops import run_apart
from web.app import create_app
from web.front.application import Front
from web.services import services_of


@pytest.fixture
def front(app):
    front = Front(app, threads=2)
    yield front
    front.stop()
    front.close()


@pytest.fixture
def lent_by(monkeypatch):
    """A maker of lists of what the threads of a front are lent for."""

    def note(front):
        calls, submit = [], front._pool.submit

        def lend(*words):
            calls.append(words)
            return submit(*words)

        monkeypatch.setattr(front._pool, "submit", lend)
        return calls

    return note


@pytest.fixture
def lent(front, lent_by):
    return lent_by(front)


def get(front, path, *headers, method="GET"):
    """Return status, headers and body of an answer of the front."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "http_version": "1.1", "scheme": "http", "query_string": b"",
        "raw_path": path.encode(), "headers": [(b"host", b"localhost"), *headers],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9),
    }  # fmt: skip
    run_apart(front(scope, receive, send))
    assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
    assert not sent[-1].get("more_body", False)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), body


def test_a_poll_of_what_is_known_needs_no_thread(front, lent, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    workshop.succeed(job["id"])
    path = job["urls"]["self"]
    first = get(front, path)
    assert len(lent) > 0
    lent.clear()
    for _ in range(3):
        again = get(front, path)
        assert (again[0], again[2]) == (first[0], first[2])
    known = get(front, path, (b"if-none-match", first[1][b"etag"]))
    assert (known[0], known[2]) == (304, b"")
    assert get(front, path, method="HEAD")[2] == b""
    assert lent == []
    submit()  # somebody writes: the row has to be compared, once
    assert get(front, path)[2] == first[2]
    assert len(lent) > 0
    lent.clear()
    assert get(front, path)[2] == first[2]
    assert lent == []


def test_what_has_to_wait_for_somebody_needs_one(front, lent, submit, workshop):
    running, queued = submit(), submit()
    workshop.claim(running["id"])
    for path in (running["urls"]["self"], queued["urls"]["self"], "/healthz", "/api/v1/jobs"):
        get(front, path)
        lent.clear()
        assert get(front, path)[0] == 200
        assert len(lent) > 0, path


@pytest.mark.parametrize("header", [(b"content-length", b"0"), (b"transfer-encoding", b"chunked")])
def test_a_request_with_a_body_takes_the_usual_way(front, lent, submit, header):
    path = submit()["urls"]["self"]
    assert get(front, path, header)[0] == 200
    lent.clear()
    assert get(front, path, header)[0] == 200
    assert len(lent) > 0


def test_below_a_path_and_behind_a_proxy(settings, parts, lent_by):
    """The links in what is kept are those of this service, and only names of its own are answered."""
    placed = settings.model_copy(update={"url": "https://pictures.example/atelier", "trusted_proxies": 1})
    app = create_app(placed)
    services_of(app).backend.shared.stale_seconds = 3600
    data = parts(reuse="false")
    answer = app.test_client().post("/api/v1/jobs", data=data, base_url="https://pictures.example")
    assert answer.status_code == 202, answer.text
    url = answer.json["urls"]["self"]
    assert url.startswith("/atelier/api/v1/jobs/")
    front = Front(app, threads=2)
    lent = lent_by(front)
    forwarded = (b"x-forwarded-host", b"pictures.example")
    first = get(front, url, forwarded)
    assert json.loads(first[2])["urls"]["self"] == url
    lent.clear()
    assert get(front, url, forwarded)[2] == first[2]
    assert get(front, url.removeprefix("/atelier"), forwarded)[2] == first[2]
    assert lent == []
    assert get(front, url, (b"x-forwarded-host", b"evil.example"))[0] == 421
    assert len(lent) > 0
    front.stop()
    front.close()
    services_of(app).close()

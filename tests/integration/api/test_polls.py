"""The short way of a poll: it answers what the view answers, and leaves the rest to it."""

from __future__ import annotations

import uuid

import pytest
from structlog.testing import capture_logs

from shared.errors import DatabaseUnavailable
from tests.support.statements import noted_statements
from web.access.tokens import LOCAL_CALLER
from web.later import AT_ONCE_KEY, WouldLook, WouldWait
from web.services import services_of

JOBS = "/api/v1/jobs"
#: With it a request is none of the plain ones, and the view passes it over.
THE_LONG_WAY = {"Prefer": "respond-async"}
REQUESTS = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"If-None-Match": '"another"'}),
    ("GET", {"If-None-Match": "the etag"}),
    ("GET", {"If-None-Match": "W/the etag"}),
    ("HEAD", {"If-None-Match": "the etag"}),
    ("GET", {"If-None-Match": '"another", the etag'}),
    ("GET", {"If-None-Match": "*"}),
    ("GET", {"If-None-Match": ""}),
    ("GET", {"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT"}),
    ("GET", {"Range": "bytes=0-9"}),
    ("GET", {"Accept": "text/html", "Accept-Encoding": "gzip, br"}),
    ("GET", {"Host": "LOCALHOST:8000"}),
    ("GET", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}),
    ("GET", {"X-Request-Id": "mine"}),
    ("GET", {"X-Request-Id": "not/mine"}),
]


def ask(client, url, method, headers):
    answer = client.open(url, method=method, headers=headers)
    told = [(name, value) for name, value in answer.headers if name != "X-Request-Id"]
    return answer.status, sorted(told), answer.data, answer.headers["X-Request-Id"]


@pytest.fixture(params=["ended", "running", "queued"])
def url(request, submit, workshop, services) -> str:
    job = submit()
    if request.param != "queued":
        workshop.claim(job["id"])
        workshop.progress(job["id"], 3)
    if request.param == "ended":
        workshop.succeed(job["id"])
    services.backend.shared.stale_seconds = 3600
    return f"{JOBS}/{job['id']}"


def test_it_answers_what_the_view_answers(client, url):
    etag = client.get(url).headers["ETag"]
    for method, template in REQUESTS:
        headers = {name: value.replace("the etag", etag) for name, value in template.items()}
        with capture_logs() as logs:
            *short, short_id = ask(client, url, method, headers)
            *long, long_id = ask(client, url, method, {**headers, **THE_LONG_WAY})
        assert short == long, headers
        first, second = ({**one, "seconds": 0, "request_id": ""} for one in logs)
        assert first == second
        assert first["path"] == url
        if headers.get("X-Request-Id") == "mine":
            assert short_id == long_id == "mine"
        else:
            assert uuid.UUID(short_id) != uuid.UUID(long_id)


def test_what_is_not_plain_is_left_to_the_app(client, url, problem_of):
    etag = client.get(url).headers["ETag"]
    problem_of(client.get(f"{url}?unknown=1"), 400, "invalid_request")
    problem_of(client.get(url, headers={"If-Match": '"another"'}), 412, "precondition_failed")
    problem_of(client.get(url, headers={"If-Match": ""}), 412, "precondition_failed")
    assert client.get(url, headers={"If-Match": etag}).status_code == 200
    assert client.get(url, headers={"Host": "evil.example"}).status_code == 421
    assert client.get(f"{url}/").status_code == client.get(url).status_code == 200
    assert client.get(url.upper()).status_code == 404
    problem_of(client.put(url), 405, "method_not_allowed")


def test_what_goes_wrong_is_said_by_the_app(app, client, url, problem_of, monkeypatch):
    missing = client.get(f"{JOBS}/{uuid.uuid4()}")
    problem = problem_of(missing, 404, "not_found")
    assert problem["instance"]
    known = client.get(url, headers={"X-Request-Id": "mine"})

    def fail():
        raise DatabaseUnavailable("the file was removed")

    monkeypatch.setattr(services_of(app).backend.database, "mark", fail)
    answer = client.get(url, headers={"X-Request-Id": "mine"})
    problem_of(answer, 503, "database_unavailable")
    assert answer.headers["X-Request-Id"] == known.headers["X-Request-Id"] == "mine"
    assert "wsgi" not in answer.text


def test_it_goes_round_the_app(app, client, url):
    """None of what is done for every request of the app is done for a plain poll."""
    seen = []
    app.before_request_funcs[None].insert(0, lambda: seen.append(1))
    client.get(url)
    with noted_statements() as noted:
        client.get(url)
    assert (seen, noted) == ([], [])
    client.get(url, headers=THE_LONG_WAY)
    assert seen == [1]


def at_once(app, url, **environ):
    """Return what is answered at once, after a look where one is asked for."""
    with app.test_request_context(url, **environ) as context:
        given = dict(context.request.environ)
    told = []

    def answer(inner):
        return b"".join(inner(given, lambda *words: told.append(words)))

    try:
        body = answer(app.extensions[AT_ONCE_KEY])
    except WouldLook as asked:
        assert told == []
        body = answer(asked.answer(asked.look({asked.key})[asked.key]))
    return told[0][0], dict(told[0][1]), body


def test_what_is_known_is_answered_at_once(app, client, url, services):
    services.answers.drop((LOCAL_CALLER, url.rpartition("/")[2], ""))
    with pytest.raises(WouldWait):
        at_once(app, url)  # nobody has asked before
    usual = client.get(url)
    status, headers, body = at_once(app, url)
    assert (status, body) == ("200 OK", usual.data)
    assert headers["ETag"] == usual.headers["ETag"]
    status, _, body = at_once(app, url, headers={"If-None-Match": usual.headers["ETag"]})
    assert (status, body) == ("304 NOT MODIFIED", b"")
    for other in ({"headers": {"Prefer": "wait=5"}}, {"query_string": "a=b"}, {"method": "DELETE"}):
        with pytest.raises(WouldWait):
            at_once(app, url, **other)
    with pytest.raises(WouldWait):
        at_once(app, f"{JOBS}?page_size=1")


def test_what_would_fail_is_not_answered_at_once(app, client, url, monkeypatch):
    client.get(url)

    def fail():
        raise DatabaseUnavailable("the file was removed")

    monkeypatch.setattr(services_of(app).backend.database, "mark", fail)
    with capture_logs() as logs, pytest.raises((WouldWait, DatabaseUnavailable)):
        at_once(app, url)  # of a running job the look fails
    assert logs == []

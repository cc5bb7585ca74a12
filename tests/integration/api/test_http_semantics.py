"""HTTP as RFC 9110 has it, for clients and proxies that nobody here wrote."""

from __future__ import annotations

import gzip
import io
import threading

import pytest

from web.api import job_actions

JOBS, ASSETS = "/api/v1/jobs", "/api/v1/assets"
_NAMELESS = b"--x\r\nContent-Disposition: form-data%s\r\n\r\nhi\r\n--x--\r\n"
_MULTIPART = {"content_type": "multipart/form-data; boundary=x"}


@pytest.fixture
def picture_url(client, make_picture):
    """The address of a stored picture."""
    return client.post(ASSETS, data={"file": (io.BytesIO(make_picture()), "a.png")}).json["url"]


@pytest.mark.parametrize("url", [JOBS, ASSETS, "/new"])
@pytest.mark.parametrize("words", [b"", b'; filename="a.png"', b'; name=""', b'; name=""; filename="a"'])
def test_a_part_without_a_name(client, problem_of, url, words):
    answer = client.post(url, data=_NAMELESS % words, **_MULTIPART)
    if url == "/new":
        assert answer.status_code == 422
        assert "part has no name" in answer.text
    else:
        assert "a part has no name" in problem_of(answer, 400, "invalid_request")["detail"]


@pytest.mark.parametrize("action", ["cancel", "extend", "fork"])
def test_a_part_without_a_name_in_a_jobs_form(client, submit, action):
    job = submit()
    answer = client.post(f"/jobs/{job['id']}/{action}", data=_NAMELESS % b"", **_MULTIPART)
    assert answer.status_code < 500


def test_412_has_no_picture(client, picture_url, problem_of):
    answer = client.get(picture_url, headers={"If-Match": '"another"'})
    problem_of(answer, 412, "precondition_failed")
    job_list = client.get(JOBS, headers={"If-Match": '"another"'})
    problem_of(job_list, 412, "precondition_failed")
    page = client.get("/", headers={"If-Match": '"another"', "Accept": "text/html"})
    assert page.status_code == 412


@pytest.mark.parametrize("header", ["bytes=9-5", "lines=1-2", "bytes=0-1,4-5", "nonsense"])
@pytest.mark.parametrize("url", ["picture", "/static/icon.svg"])
def test_a_range_that_is_not_understood_is_passed_over(client, picture_url, header, url):
    with client.get(picture_url if url == "picture" else url, headers={"Range": header}) as answer:
        assert answer.status_code == 200


def test_a_weak_etag_is_known(client, picture_url, submit):
    for url in (picture_url, submit()["urls"]["self"], JOBS, "/static/icon.svg"):
        with client.get(url) as first:
            etag = first.headers["ETag"]
        with client.get(url, headers={"If-None-Match": f"W/{etag}"}) as again:
            assert (again.status_code, again.data) == (304, b""), url


def test_a_wait_with_a_weak_etag_waits(client, submit, services):
    """A proxy that compresses makes the ETag weak: the answer must not come at once, again and again."""
    job = submit()
    etag = client.get(job["urls"]["self"]).headers["ETag"]
    threading.Timer(0.2, services.stopping.set).start()
    headers = {"If-None-Match": f"W/{etag}", "Prefer": "wait=50"}
    answer = client.get(job["urls"]["self"], headers=headers)
    assert answer.headers["Preference-Applied"] == "wait=50"
    assert services.stopping.is_set()


@pytest.mark.parametrize("url", [JOBS, ASSETS, "/new", JOBS + "/x/cancel"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP, identity", "x"])
def test_an_encoded_body(client, problem_of, url, encoding):
    headers = {"Content-Encoding": encoding}
    answer = client.post(url, data=gzip.compress(b"{}"), content_type="application/json", headers=headers)
    problem = problem_of(answer, 415, "unsupported_media")
    assert encoding in problem["detail"]
    assert answer.headers["Accept-Encoding"] == "identity"


def test_a_body_encoded_as_it_is(client, submit):
    job = submit()
    answer = client.post(job["urls"]["cancel"], headers={"Content-Encoding": "Identity"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("//", "/"), ("///", "/"), ("//jobs/x", "/jobs/x"), ("//evil.example/x", "/evil.example/x"),
        ("//\\evil.example", "/evil.example"), ("//\xc3\xbc%", "/%C3%BC%25"),
    ],
)  # fmt: skip
def test_several_slashes(app, path, location):
    with app.test_request_context("/?a=b%20c") as context:
        environ = {**context.request.environ, "PATH_INFO": path}
    sent = []
    app.wsgi_app(environ, lambda status, headers: sent.append((status, dict(headers))))
    assert sent[0][0].startswith("308")
    assert sent[0][1]["Location"] == location + "?a=b%20c"


def test_favicon(client):
    with client.get("/favicon.ico") as icon, client.get("/static/icon.svg") as known:
        assert (icon.status_code, icon.mimetype) == (200, "image/svg+xml")
        assert icon.data == known.data


_FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nhi\r\n--x--\r\n'
BAD_FORMS = {
    "no boundary": ("multipart/form-data", _FORM, "names no boundary"),
    "an empty boundary": ("multipart/form-data; boundary=", _FORM, "names no boundary"),
    "another boundary": ("multipart/form-data; boundary=y", _FORM, "no line '--y'"),
    "two boundaries": ("multipart/form-data; boundary=x; boundary=y", _FORM, "no line '--"),
    "no ASCII": ("multipart/form-data; boundary=\"\u00e9\"", _FORM, "other characters than ASCII"),
    "cut off": ("multipart/form-data; boundary=x", _FORM[:-8], "'--x--'"),
    "no disposition": (
        "multipart/form-data; boundary=x", b"--x\r\nX: y\r\n\r\nhi\r\n--x--\r\n", "no Content-Disposition",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FORMS)
@pytest.mark.parametrize("url", [JOBS, ASSETS, "/new"])
def test_a_form_that_is_none(client, problem_of, nothing_left, url, name):
    content_type, body, expected = BAD_FORMS[name]
    answer = client.post(url, data=body, content_type=content_type, headers={"Accept": "text/html"})
    if url == "/new":
        assert answer.status_code == 422
        assert expected in answer.text.replace("&#39;", "'")
    else:
        problem = problem_of(answer, 400, "invalid_request")
        assert expected in problem["detail"]
        assert [fault["code"] for fault in problem["errors"]] == ["not_a_form"]
    nothing_left()


@pytest.mark.parametrize("name", ["no boundary", "cut off"])
@pytest.mark.parametrize("action", ["cancel", "fork", "delete"])
def test_a_form_of_a_job_that_is_none_does_nothing(client, submit, name, action):
    """Taken for an empty one it would do something else than it says."""
    job = submit()
    content_type, body, expected = BAD_FORMS[name]
    answer = client.post(
        f"/jobs/{job['id']}/{action}", data=body, content_type=content_type, headers={"Accept": "text/html"}
    )
    assert answer.status_code == 400
    assert expected in answer.text.replace("&#39;", "'")
    assert client.get(job["urls"]["self"]).json["version"] == 1
    assert len(client.get(JOBS).json["jobs"]) == 1


def test_a_form_that_is_no_text_does_nothing(client, submit):
    job = submit()
    answer = client.post(
        f"/jobs/{job['id']}/cancel",
        data=b"a=\xff",
        content_type="application/x-www-form-urlencoded",
        headers={"Accept": "text/html"},
    )
    assert (answer.status_code, "is not UTF-8" in answer.text) == (400, True)
    assert client.get(job["urls"]["self"]).json["status"] == "queued"


def test_an_empty_form_misses_its_parts(client, problem_of):
    answer = client.post(ASSETS, data=b"", content_type="multipart/form-data; boundary=x")
    problem_of(answer, 422, "missing_part")


ACTIONS = {
    "cancel": None, "pause": None, "resume": None, "retry": {}, "extend": {"steps": 3},
    "fork": {"step": 10}, None: None,
}  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("way", ["If-Match", "If-None-Match"])
def test_a_change_is_made_only_to_what_the_client_has_seen(client, submit, problem_of, action, way):
    job = submit()
    etag = client.get(job["urls"]["self"]).headers["ETag"]
    client.post(job["urls"]["cancel"])
    now = client.get(job["urls"]["self"])
    method, url = (client.delete, job["urls"]["self"]) if action is None else (
        client.post, f"{job['urls']['self']}/{action}"
    )  # fmt: skip
    for wanted in (etag, f"W/{now.headers['ETag']}") if way == "If-Match" else ("*", now.headers["ETag"]):
        answer = method(url, json=ACTIONS[action], headers={way: wanted})
        problem = problem_of(answer, 412, "precondition_failed")
        assert answer.headers["ETag"] == now.headers["ETag"]
        assert now.headers["ETag"] in problem["detail"]
    assert client.get(job["urls"]["self"]).json == now.json


def test_a_change_is_made_to_what_the_client_has_seen(client, submit):
    job = submit()
    url, seen = job["urls"]["self"], []
    for wanted in ("*", None, f'"x", {None}'):
        seen.append(client.get(url).headers["ETag"])
        header = wanted.replace("None", seen[-1]) if wanted else seen[-1]
        assert client.post(f"{url}/pause", headers={"If-Match": header}).status_code == 200
        assert client.post(f"{url}/resume", headers={"If-None-Match": '"x"'}).status_code == 200
    client.post(f"{url}/cancel")
    etag = client.get(url).headers["ETag"]
    assert client.delete(url, headers={"If-Match": etag}).status_code == 204


def test_a_job_that_changes_between_the_look_and_the_change(
    client, submit, services, monkeypatch, problem_of
):
    """The condition holds at the moment of the change, not some time before."""
    job = submit()
    url = job["urls"]["self"]
    etag = client.get(url).headers["ETag"]
    look = job_actions.require_match

    def look_and_lose(*words):
        look(*words)
        monkeypatch.undo()
        assert client.post(f"{url}/pause").status_code == 200

    monkeypatch.setattr(job_actions, "require_match", look_and_lose)
    answer = client.post(f"{url}/cancel", headers={"If-Match": etag})
    problem_of(answer, 412, "precondition_failed")
    now = client.get(url)
    assert (now.json["status"], answer.headers["ETag"]) == ("paused", now.headers["ETag"])


def test_a_repeated_extension_is_answered_again_though_the_job_has_changed_by_it(client, submit, bench):
    job = submit(options={"steps": 2, "checkpoint_every": 1})
    bench.work(job["id"])
    url = job["urls"]["self"]
    headers = {"If-Match": client.get(url).headers["ETag"], "Idempotency-Key": "again"}
    first = client.post(f"{url}/extend", json={"steps": 1}, headers=headers)
    assert first.status_code == 200, first.text
    again = client.post(f"{url}/extend", json={"steps": 1}, headers=headers)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")


@pytest.mark.parametrize("url", ["/static/icon.svg", "/docs", "/", "/new"])
@pytest.mark.parametrize("coding", ["gzip", "br", "identity"])
def test_conditions_of_what_is_compressed(client, url, coding):
    headers = {"Accept-Encoding": coding, "Accept": "text/html"}
    with client.get(url, headers=headers) as first:
        etag = first.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        with client.get(url, headers={**headers, "If-Match": etag}) as same:
            assert same.status_code == 200
        with client.get(url, headers={**headers, "If-None-Match": etag}) as known:
            assert (known.status_code, known.headers["ETag"]) == (304, etag)
    with client.get(url, headers={**headers, "If-Match": '"x"'}) as another:
        # What has no ETag at all is not asked for by one.
        assert another.status_code == (412 if etag else 200)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip;q=0", None), ("gzip; q=0", None), ("gzip;q=0, *;q=0", None), ("identity, *;q=0", None),
        ("gzip", "gzip"), ("GZIP", "gzip"), ("br;q=0.5, gzip;q=1", "gzip"), ("gzip;q=0, br", "br"),
        ("br; q=0.1, gzip; q=0.9", "gzip"),
    ],
)  # fmt: skip
def test_a_coding_that_is_not_wanted(client, accepted, coding):
    with client.get("/static/icon.svg", headers={"Accept-Encoding": accepted}) as answer:
        assert answer.headers.get("Content-Encoding") == coding


@pytest.mark.parametrize("url", ["/static/icon.svg", "picture"])
def test_a_range_for_what_the_client_has(client, picture_url, url):
    url = picture_url if url == "picture" else url
    with client.get(url) as whole:
        etag, modified = whole.headers["ETag"], whole.headers.get("Last-Modified")
    held = {etag: 206, f"W/{etag}": 200, '"x"': 200, "Mon, 01 Jan 1990 00:00:00 GMT": 200, "soon": 200}
    for value, status in {**held, **({modified: 206} if modified else {})}.items():
        with client.get(url, headers={"Range": "bytes=0-9", "If-Range": value}) as answer:
            assert answer.status_code == status, value
    for condition, status in {"If-None-Match": 304, "If-Match": 206}.items():
        with client.get(url, headers={"Range": "bytes=0-9", condition: etag}) as answer:
            assert answer.status_code == status
    with client.head(url, headers={"Range": "bytes=0-9"}) as answer:
        assert answer.status_code == 200


def test_etags_go_before_dates(client, picture_url, submit):
    old, new = "Mon, 01 Jan 1990 00:00:00 GMT", "Mon, 01 Jan 2035 00:00:00 GMT"
    for url in ("/static/icon.svg", picture_url, submit()["urls"]["self"]):
        for headers, status in (
            ({"If-None-Match": "*", "If-Modified-Since": old}, 304),
            ({"If-None-Match": '"x"', "If-Modified-Since": new}, 200),
            ({"If-Match": "*", "If-Unmodified-Since": old}, 200),
            ({"If-Modified-Since": "soon"}, 200),
        ):
            with client.get(url, headers=headers) as answer:
                assert answer.status_code == status, (url, headers)


@pytest.mark.parametrize("url", [JOBS, "/healthz", "/openapi.json", "job", "/"])
def test_what_has_no_ranges_and_no_other_form(client, submit, url):
    url = submit()["urls"]["self"] if url == "job" else url
    for headers in (
        {"Range": "bytes=0-1"},
        {"Accept": "image/png"},
        {"Accept": "*/*;q=0"},
        {"Accept": ";;;"},
    ):
        answer = client.get(url, headers=headers)
        assert answer.status_code == 200
        assert "Accept-Ranges" not in answer.headers


REPEATED = {
    '{"content": "a", "content": "b", "style": "c"}': "content",
    '{"content": "a", "style": "c", "options": {"steps": 3, "steps": 5}}': "steps",
    '{"x": 1, "x": 1}': "x",
}


@pytest.mark.parametrize("body", REPEATED)
def test_a_field_that_is_there_twice(client, problem_of, body):
    answer = client.post(JOBS, data=body, content_type="application/json")
    problem = problem_of(answer, 400, "invalid_request")
    assert problem["errors"][0]["code"] == "repeated_field"
    assert problem["detail"].startswith(f"{REPEATED[body]} is there twice")


def test_an_option_that_is_there_twice_in_a_part(client, parts, problem_of):
    problem = problem_of(
        client.post(JOBS, data=parts(options='{"steps": 3, "steps": 5}')), 400, "invalid_request"
    )
    assert problem["errors"][0] == {
        "pointer": "/options", "code": "repeated_field",
        "detail": "steps is there twice in options; give it once",
    }  # fmt: skip


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_in_any_unicode(client, submit, coding):
    """Which it is shows in the bytes; a charset beside application/json means nothing."""
    url = submit()["urls"]["self"]
    answer = client.post(
        f"{url}/retry", data='{"from": "zero"}'.encode(coding), content_type="application/json; charset=x"
    )
    assert answer.status_code == 409, answer.text  # it was read


@pytest.mark.parametrize("url", [JOBS, "/"])
def test_a_name_with_nothing_behind_a_nul(client, submit, url):
    submit(name="harbour")
    answer = client.get(f"{url}?name=%00", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "harbour" not in answer.text
    assert "harbour" in client.get(f"{url}?name=arb", headers={"Accept": "text/html"}).text

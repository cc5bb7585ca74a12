"""HTTP as RFC 9110 has it, for clients and proxies that nobody here wrote."""

from __future__ import annotations

import gzip
import io
import threading

import pytest

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
        assert "a part has no name" in answer.text
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

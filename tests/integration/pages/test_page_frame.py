"""What all pages share: problems in words, the policy, and who may send what."""

from __future__ import annotations

JOBS = "/api/v1/jobs"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_person_sees_a_problem_as_a_page(client):
    answer = client.get("/nowhere", headers=BROWSER)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "There is nothing at /nowhere" in answer.text
    assert answer.headers["X-Request-Id"]


def test_programs_and_the_api_get_problems_as_json(client):
    for path, headers in (("/nowhere", {}), (f"{JOBS}/x", BROWSER)):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_pages_run_nothing_but_our_own_files(client):
    for path in ("/", "/new", "/workers", "/docs", "/nowhere"):
        answer = client.get(path, headers=BROWSER)
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert ' style="' not in answer.text
        assert "<style" not in answer.text
        assert "onclick" not in answer.text


def test_what_another_sites_page_sends_changes_nothing(client, parts, nothing_left, problem_of):
    origins = ({"Origin": origin} for origin in ("https://evil.example", "null", "http://[", "//", ""))
    for headers in ({"Sec-Fetch-Site": "cross-site"}, *origins):
        answer = client.post(JOBS, data=parts(), headers=headers)
        problem_of(answer, 403, "cross_site_request")
    nothing_left()


def test_our_own_pages_may_send(client, parts):
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}
    assert client.post(JOBS, data=parts(), headers=headers).status_code == 202


def test_a_name_that_someone_pointed_here_is_refused(client, problem_of):
    problem = problem_of(client.get(JOBS, headers={"Host": "evil.example"}), 421, "unknown_host")
    assert "evil.example" in problem["detail"]


def test_what_makes_a_page_is_compressed_and_jobs_are_not(client, submit):
    packed = {"Accept-Encoding": "gzip, br, zstd"}
    for path in ("/docs", "/static/css/parts.css", "/static/js/live.js"):
        with client.get(path, headers=packed) as answer, client.get(path) as plain:
            assert answer.headers["Content-Encoding"] in ("gzip", "br", "zstd"), path
            assert len(answer.data) < len(plain.data) / 2
            assert "Accept-Encoding" in answer.headers["Vary"]
            etag = answer.headers.get("ETag")
        if etag:
            with client.get(path, headers={**packed, "If-None-Match": etag}) as again:
                assert again.status_code == 304
    job = submit()
    answer = client.get(job["urls"]["self"], headers=packed)
    assert "Content-Encoding" not in answer.headers
    same = client.get(job["urls"]["self"], headers={**packed, "If-None-Match": answer.headers["ETag"]})
    assert same.status_code == 304


def test_a_page_that_is_as_it_was_is_not_sent_again(client, submit):
    for path in ("/", "/new", "/workers"):
        answer = client.get(path, headers=BROWSER)
        again = client.get(path, headers={**BROWSER, "If-None-Match": answer.headers.get("ETag", "")})
        assert (again.status_code, again.data) == (304, b""), path
    known = {**BROWSER, "If-None-Match": client.get("/?name=x", headers=BROWSER).headers["ETag"]}
    assert client.get("/?name=x", headers=known).status_code == 304
    submit(name="Fox")
    assert client.get("/?name=x", headers=known).status_code == 200
    # What is refused is told each time.
    assert "ETag" not in client.get("/?label=x", headers=BROWSER).headers

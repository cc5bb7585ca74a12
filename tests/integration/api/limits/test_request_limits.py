"""The limits of a caller: requests in a minute, and event streams."""

from __future__ import annotations

import pytest

from tests.support.limits import allow, limit_of
from web.access.tokens import Scope
from web.front.wsgi import Answer
from web.later import AT_ONCE_KEY, INSTEAD_KEY, LEFT_KEY, Left, WouldWait

JOBS, ASSETS, LIMITS = "/api/v1/jobs", "/api/v1/assets", "/api/v1/limits"


class TestRequests:
    """So many requests a minute."""

    @allow(max_requests_per_minute=3)
    def test_one_too_many_is_refused_and_says_when_there_are_more(self, client, anna, ben, problem_of):
        for left in (2, 1, 0):
            answer = client.get(JOBS, headers=anna)
            assert answer.status_code == 200
            assert answer.headers["RateLimit-Policy"] == '"requests";q=3;w=60'
            assert answer.headers["RateLimit"].startswith(f'"requests";r={left};t=')
        refused = client.get(JOBS, headers=anna)
        problem = problem_of(refused, 429, "rate_limited")
        assert "the caller 'anna' has sent 3 requests within 60 s" in problem["detail"]
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"] == f'"requests";r=0;t={refused.headers["Retry-After"]}'
        assert client.get(JOBS, headers=ben).status_code == 200

    @allow(max_requests_per_minute=2)
    def test_a_refused_submission_leaves_nothing(self, client, anna, send, nothing_left, problem_of):
        for _ in range(2):
            client.get(JOBS, headers=anna)
        problem_of(send(anna), 429, "rate_limited")
        nothing_left()

    @allow(max_requests_per_minute=2)
    def test_all_tokens_of_a_caller_count_together_and_what_is_for_everybody_does_not(
        self, client, as_caller, anna, problem_of
    ):
        other = as_caller("anna", Scope.READ)
        for address in ("/healthz", "/docs", "/static/icon.svg", "/signin"):
            client.get(address, headers=anna).close()
        assert client.get(JOBS, headers=anna).status_code == 200
        # What is not allowed is a request all the same.
        assert client.post(JOBS, headers=other).status_code == 403
        problem_of(client.get(JOBS, headers=other), 429, "rate_limited")

    @allow(max_requests_per_minute=5)
    def test_polls_count_on_whichever_way_they_are_answered(self, app, client, anna, send, problem_of):
        url = send(anna).headers["Location"]
        short, long = (client.get(url, headers={**anna, **more}) for more in ({}, {"Prefer": "wait=0"}))
        assert short.headers["RateLimit"].startswith('"requests";r=3;')
        assert long.headers["RateLimit"].startswith('"requests";r=2;')
        missing = client.get(f"{JOBS}/01a20000-0000-7000-8000-00000000000a", headers=anna)
        assert (missing.status_code, missing.headers["RateLimit"][:14]) == (404, '"requests";r=1')
        assert client.head(url, headers=anna).status_code == 200
        refused = client.get(url, headers=anna)
        problem_of(refused, 429, "rate_limited")
        assert refused.headers["RateLimit"].startswith('"requests";r=0;')

    @allow(max_requests_per_minute=4)
    def test_a_poll_that_is_answered_at_once_counts_once(self, app, client, anna, send, workshop, services):
        job = send(anna).json
        workshop.claim(job["id"])
        workshop.succeed(job["id"])
        services.backend.shared.stale_seconds = 3600
        url = job["urls"]["self"]
        client.get(url, headers=anna)
        with app.test_request_context(url, headers=anna) as context:
            environ = dict(context.request.environ)
        told: list[tuple] = []
        for left in (1, 0):
            b"".join(app.extensions[AT_ONCE_KEY](dict(environ), lambda *words: told.append(words)))
            assert dict(told[-1][1])["RateLimit"].startswith(f'"requests";r={left};')
        with pytest.raises(WouldWait):
            app.extensions[AT_ONCE_KEY](dict(environ), lambda *words: told.append(words))
        assert len(told) == 2

    @allow(max_requests_per_minute=3)
    def test_an_answer_that_is_waited_for_counts_once(self, app, client, anna, send, services):
        """As the front asks for it: the same request comes to the app twice."""
        url = send(anna).headers["Location"]
        etag = client.get(url, headers=anna).headers["ETag"]
        headers = {**anna, "If-None-Match": etag, "Prefer": "wait=50"}
        with app.test_request_context(url, headers=headers) as context:
            environ = {**context.request.environ, LEFT_KEY: Left()}
        first = Answer(app.wsgi_app, environ)
        first.close()
        wait = first.left.wait
        later = Answer(app.wsgi_app, {**environ, INSTEAD_KEY: wait.answer, LEFT_KEY: Left()})
        later.close()
        wait.close()
        assert (first.status, later.status) == (204, 304)
        assert dict(later.headers)[b"ratelimit"].startswith(b'"requests";r=0;')

    @allow(max_requests_per_minute=2)
    def test_a_page_is_told_so_as_a_page(self, client, anna):
        for _ in range(2):
            client.get("/", headers=anna)
        refused = client.get("/", headers={**anna, "Accept": "text/html"})
        assert (refused.status_code, refused.mimetype) == (429, "text/html")
        assert refused.headers["Retry-After"]
        assert "Too many requests" in refused.text

    @allow(max_requests_per_minute=1)
    def test_where_no_token_is_needed_nothing_is_limited(self, client):
        for _ in range(3):
            answer = client.get(JOBS)
            assert answer.status_code == 200
            assert "RateLimit" not in answer.headers

    @allow(max_open_requests_per_minute=1)
    def test_unless_a_limit_is_set_for_that(self, client, problem_of):
        assert client.get(JOBS).headers["RateLimit"].startswith('"requests";r=0;')
        problem_of(client.get(JOBS), 429, "rate_limited")

    @allow(max_requests_per_minute=3)
    def test_whoever_manages_uses_up_their_own(self, client, anna, as_caller, send, problem_of):
        url = send(anna).headers["Location"]
        keeper = as_caller("keeper", Scope.MANAGE)
        for _ in range(3):
            assert client.get(url, headers=keeper).status_code == 200
        problem_of(client.get(url, headers=keeper), 429, "rate_limited")
        assert client.get(url, headers=anna).headers["RateLimit"].startswith('"requests";r=1;')


class TestStreams:
    """So many event streams at once."""

    @allow(max_streams=1)
    def test_one_too_many_is_refused_and_one_that_ends_makes_room(self, client, anna, ben, send, problem_of):
        mine, theirs = (send(who).json["urls"]["events"] for who in (anna, ben))
        first = client.get(mine, headers=anna)
        assert first.status_code == 200
        assert limit_of(client, anna, "streams") == (1, 1)
        refused = client.get(mine, headers=anna)
        problem = problem_of(refused, 429, "too_many_streams")
        assert "the caller 'anna' has 1 event streams open; at most 1" in problem["detail"]
        assert refused.headers["RateLimit-Policy"].startswith('"streams";q=1;qu="concurrent-requests", ')
        assert refused.headers["RateLimit"].startswith('"streams";r=0;t=10, "requests";r=')
        other = client.get(theirs, headers=ben)
        assert other.status_code == 200
        for one in (first, other):
            one.close()
        again = client.get(mine, headers=anna)
        assert again.status_code == 200
        again.close()
        assert limit_of(client, anna, "streams") == (1, 0)

    @allow(max_streams=1)
    def test_it_is_the_stream_of_whoever_reads_it(self, client, anna, as_caller, send):
        address = send(anna).json["urls"]["events"]
        keeper = as_caller("keeper", Scope.MANAGE)
        watched = client.get(address, headers=keeper)
        own = client.get(address, headers=anna)
        assert (watched.status_code, own.status_code) == (200, 200)
        watched.close()
        own.close()

    @allow(max_streams=1)
    def test_where_no_token_is_needed_only_those_of_all_are_counted(self, client, send):
        address = send().json["urls"]["events"]
        streams = [client.get(address) for _ in range(2)]
        assert [one.status_code for one in streams] == [200, 200]
        for one in streams:
            one.close()


def test_without_any_token_requests_and_streams_have_no_limit(client):
    assert limit_of(client, {}, "requests") == (None, None)
    assert limit_of(client, {}, "streams") == (None, 0)
    assert limit_of(client, {}, "jobs") == (10_000, 0)

"""The limits of a caller: each refuses what is too much, for that caller alone, and leaves nothing behind."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.clock import utc_now
from shared.settings import Settings
from tests.support.app import change_backend, stored_files
from web.access.tokens import Scope, create_token
from web.front.wsgi import Answer
from web.later import AT_ONCE_KEY, INSTEAD_KEY, LEFT_KEY, Left, WouldWait
from web.services import Services

JOBS, ASSETS, LIMITS = "/api/v1/jobs", "/api/v1/assets", "/api/v1/limits"


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """The settings of all tests, with the limits that a test names."""
    return settings.model_copy(update=getattr(request, "param", {}))


def allow(**limits: int) -> pytest.MarkDecorator:
    """Have a test run with these limits."""
    return pytest.mark.parametrize("settings", [limits], indirect=True)


@pytest.fixture
def as_caller(services: Services) -> Callable[..., dict[str, str]]:
    """Return the header fields that show a token of a caller, who may submit if nothing else is said."""

    def do(caller: str, scope: Scope = Scope.SUBMIT) -> dict[str, str]:
        with services.backend.database.write() as session:
            made = create_token(
                session,
                name=f"{caller}-{scope}",
                scopes={scope},
                caller=caller,
                expires_at=None,
                now=utc_now(),
            )
        return {"Authorization": f"Bearer {made.text}"}

    return do


@pytest.fixture
def anna(as_caller) -> dict[str, str]:
    return as_caller("anna")


@pytest.fixture
def ben(as_caller) -> dict[str, str]:
    return as_caller("ben")


@pytest.fixture
def send(client: FlaskClient, parts) -> Callable[..., TestResponse]:
    """Submit a job of two small pictures, which is to be computed; return the response."""

    def do(who: dict[str, str] | None = None, **changes: object) -> TestResponse:
        return client.post(JOBS, data=parts(**{"reuse": "false", **changes}), headers=who or {})

    return do


@pytest.fixture
def set_limits(app: Flask, settings: Settings) -> Callable[..., None]:
    """Let other limits hold from now on."""

    def do(**limits: int) -> None:
        change_backend(app, settings=settings.model_copy(update=limits))

    return do


def upload(client: FlaskClient, who: dict[str, str], picture: bytes) -> TestResponse:
    return client.post(ASSETS, data={"file": (io.BytesIO(picture), "a.png")}, headers=who)


def limit_of(client: FlaskClient, who: dict[str, str], name: str) -> tuple[int | None, int | None]:
    """Return what is allowed of something, and what is used."""
    told = client.get(LIMITS, headers=who).json["limits"]
    return next((one["limit"], one["used"]) for one in told if one["name"] == name)


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


class TestJobs:
    """So many jobs queued or running."""

    @allow(max_jobs=2)
    def test_one_too_many_is_refused_and_leaves_nothing(
        self, client, anna, ben, send, settings, make_picture, problem_of
    ):
        for _ in range(2):
            assert send(anna).status_code == 202
        before = stored_files(settings)
        refused = send(anna, content=make_picture(seed=7))
        problem = problem_of(refused, 429, "too_many_jobs")
        assert "'anna' has 2 jobs queued or running; at most 2" in problem["detail"]
        assert refused.headers["Retry-After"] == "10"
        assert refused.headers["RateLimit-Policy"].startswith('"jobs";q=2;qu="jobs", "requests";q=')
        assert refused.headers["RateLimit"].startswith('"jobs";r=0;t=10, ')
        assert stored_files(settings) == before
        assert len(client.get(JOBS, headers=anna).json["jobs"]) == 2
        assert len(client.get(ASSETS, headers=anna).json["assets"]) == 2
        assert send(ben).status_code == 202

    @allow(max_jobs=1)
    def test_what_has_ended_or_is_paused_does_not_count(self, client, send, workshop):
        first = send().json["id"]
        assert send().status_code == 429
        assert client.post(f"{JOBS}/{first}/pause").json["status"] == "paused"
        second = send().json["id"]
        workshop.claim(second)
        assert send().status_code == 429
        workshop.succeed(second)
        assert send().status_code == 202

    @allow(max_jobs=1)
    def test_what_would_be_queued_again_is_refused_and_stays_as_it_is(
        self, client, send, workshop, problem_of, settings
    ):
        paused = send(options={"steps": 20}).json["id"]
        client.post(f"{JOBS}/{paused}/pause")
        failed = send().json["id"]
        workshop.claim(failed)
        workshop.fail(failed)
        done = send(options={"steps": 20}).json["id"]
        workshop.run_through(done)
        running = send().json["id"]
        workshop.claim(running)
        shown = {job: client.get(f"{JOBS}/{job}").data for job in (paused, failed, done)}
        files = stored_files(settings)
        for job, action, body in (
            (paused, "resume", {}),
            (failed, "retry", {}),
            (done, "extend", {"steps": 5}),
            (done, "fork", {"step": 10}),
        ):
            problem_of(client.post(f"{JOBS}/{job}/{action}", json=body), 429, "too_many_jobs")
        assert {job: client.get(f"{JOBS}/{job}").data for job in shown} == shown
        assert stored_files(settings) == files
        # What counts already may be asked for, whatever it is.
        assert client.post(f"{JOBS}/{running}/cancel").status_code == 200
        workshop.cancel(running, 3)
        assert client.post(f"{JOBS}/{paused}/resume").status_code == 200

    @allow(max_jobs=1)
    def test_a_result_that_is_there_already_is_given(self, send, workshop):
        first = send().json["id"]
        workshop.claim(first)
        workshop.succeed(first)
        assert send(options={"steps": 3}).status_code == 202
        assert send(reuse="true").status_code == 200

    @allow(max_jobs=1)
    def test_a_draft_is_a_job_too(self, send):
        assert send(kind="draft").status_code == 202
        assert send().json["code"] == "too_many_jobs"

    @allow(max_jobs=1)
    def test_a_key_that_was_refused_may_be_sent_again(self, client, send, parts):
        first = send().json["id"]
        key = {"Idempotency-Key": "once"}
        assert client.post(JOBS, data=parts(), headers=key).status_code == 429
        client.post(f"{JOBS}/{first}/cancel")
        made = client.post(JOBS, data=parts(), headers=key)
        again = client.post(JOBS, data=parts(), headers=key)
        assert (made.status_code, again.status_code) == (202, 202)
        assert again.json["id"] == made.json["id"]

    @allow(max_jobs=3)
    def test_those_who_submit_at_once_do_not_get_past_it(self, app, send, parts):
        ids = send().json["input"]
        body = {part: ids[part]["asset_id"] for part in ("content", "style")}

        def submit(number: int) -> int:
            answer = app.test_client().post(JOBS, json={**body, "options": {"steps": 10 + number}})
            return answer.status_code

        with ThreadPoolExecutor(8) as pool:
            found = sorted(pool.map(submit, range(8)))
        assert found == [202, 202, *[429] * 6]

    @allow(max_jobs=1)
    def test_whoever_manages_does_it_at_the_cost_of_the_owner(
        self, client, anna, as_caller, send, workshop, problem_of
    ):
        done = send(anna, options={"steps": 20}).json["id"]
        workshop.run_through(done)
        keeper = as_caller("keeper", Scope.MANAGE)
        assert send(keeper).status_code == 202
        extended = client.post(f"{JOBS}/{done}/extend", json={"steps": 5}, headers=keeper)
        assert extended.status_code == 200
        fork = client.post(f"{JOBS}/{done}/fork", json={"step": 10}, headers=keeper)
        assert "'anna' has 1 jobs" in problem_of(fork, 429, "too_many_jobs")["detail"]

    @allow(max_jobs=1)
    def test_the_pages_tell_it(self, client, send, make_picture, press):
        first = send().json["id"]
        form = {"content": (io.BytesIO(make_picture(seed=5)), "a.png"), "name": "Harbour"}
        form["style"] = (io.BytesIO(make_picture(seed=6)), "b.png")
        page = client.post("/new", data=form, headers={"Accept": "text/html"})
        assert page.status_code == 429
        assert "at most 1 may be at once" in page.text
        assert 'value="Harbour"' in page.text
        client.post(f"{JOBS}/{first}/pause")
        assert send().status_code == 202
        refused = press(first, "resume")
        assert refused.status_code == 429
        assert "at most 1 may be at once" in refused.text


class TestBytes:
    """So many bytes of pictures and results."""

    @pytest.fixture
    def pictures(self, make_picture) -> list[bytes]:
        return [make_picture(seed=seed) for seed in range(3)]

    @allow(max_stored_bytes=1)
    def test_a_picture_that_can_never_fit_is_refused_and_leaves_nothing(
        self, client, anna, pictures, nothing_left, problem_of
    ):
        refused = upload(client, anna, pictures[0])
        problem = problem_of(refused, 403, "too_many_bytes")
        assert f"has {len(pictures[0])} bytes of pictures and results stored" in problem["detail"]
        assert "at most 1 are allowed" in problem["detail"]
        assert "Retry-After" not in refused.headers
        nothing_left()

    @allow(max_stored_bytes=1)
    def test_nor_does_a_job_whose_pictures_never_fit(self, anna, send, nothing_left, problem_of):
        problem_of(send(anna), 403, "too_many_bytes")
        nothing_left()

    def test_pictures_add_up_and_each_counts_once(self, client, anna, ben, pictures, settings, set_limits):
        first, second, third = pictures
        set_limits(max_stored_bytes=len(first) + len(second))
        assert upload(client, anna, first).status_code == 201
        assert upload(client, anna, second).status_code == 201
        before = stored_files(settings)
        assert upload(client, anna, third).json["code"] == "too_many_bytes"
        assert stored_files(settings) == before
        assert upload(client, anna, first).status_code == 200
        assert upload(client, ben, third).status_code == 201
        used = len(first) + len(second)
        assert limit_of(client, anna, "stored_bytes") == (used, used)

    def test_those_who_upload_at_once_do_not_get_past_it(self, app, anna, make_picture, set_limits):
        pictures = [make_picture(seed=seed) for seed in range(6)]
        set_limits(max_stored_bytes=2 * max(map(len, pictures)))

        def send(picture: bytes) -> int:
            return upload(app.test_client(), anna, picture).status_code

        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(send, pictures))
        assert set(found) == {201, 403}
        kept = app.test_client().get(ASSETS, headers=anna).json["assets"]
        assert len(kept) == found.count(201)
        assert sum(one["size_bytes"] for one in kept) <= 2 * max(map(len, pictures))

    def test_a_job_needs_room_for_its_result_and_results_count(
        self, client, anna, send, workshop, set_limits, problem_of
    ):
        set_limits(max_stored_bytes=10**9)
        job = send(anna, options={"steps": 20}).json
        pictures = limit_of(client, anna, "stored_bytes")[1]
        set_limits(max_stored_bytes=pictures)
        refused = problem_of(send(anna), 403, "too_many_bytes")
        assert "and a job adds its result" in refused["detail"]
        set_limits(max_stored_bytes=pictures + 1)
        assert send(anna).status_code == 202
        workshop.run_through(job["id"])
        used = limit_of(client, anna, "stored_bytes")[1]
        assert used > pictures + 1
        problem_of(send(anna), 403, "too_many_bytes")
        fork = client.post(f"{JOBS}/{job['id']}/fork", json={"step": 10}, headers=anna)
        problem_of(fork, 403, "too_many_bytes")

    @allow(max_stored_bytes=1)
    def test_the_page_tells_it_at_the_picture(self, client, pictures):
        form = {"content": (io.BytesIO(pictures[0]), "a.png"), "style": (io.BytesIO(pictures[1]), "b.png")}
        page = client.post("/new", data=form, headers={"Accept": "text/html"})
        assert page.status_code == 422
        assert "at most 1 are allowed" in page.text


class TestSize:
    """The largest size of a job."""

    @allow(max_size_px=256)
    def test_a_larger_one_is_refused_with_what_is_allowed(
        self, client, send, parts, nothing_left, problem_of
    ):
        refused = send(options={"size": 257})
        problem = problem_of(refused, 403, "size_not_allowed")
        assert problem["detail"] == "size is 257 px; at most 256 px are allowed here"
        assert [fault["pointer"] for fault in problem["errors"]] == ["/options/size"]
        assert "Retry-After" not in refused.headers
        checked = client.post(f"{JOBS}?validate_only=true", data=parts(options={"size": 257}))
        problem_of(checked, 403, "size_not_allowed")
        nothing_left()
        assert send(options={"size": 256}).status_code == 202

    def test_one_that_was_allowed_before_goes_on_and_is_not_extended(
        self, client, send, workshop, set_limits, problem_of
    ):
        done, paused = (send(options={"size": 512, "steps": 20}).json["id"] for _ in range(2))
        workshop.run_through(done)
        client.post(f"{JOBS}/{paused}/pause")
        set_limits(max_size_px=256)
        assert client.post(f"{JOBS}/{paused}/resume").status_code == 200
        extended = client.post(f"{JOBS}/{done}/extend", json={"steps": 5})
        problem_of(extended, 403, "size_not_allowed")
        forked = client.post(f"{JOBS}/{done}/fork", json={"step": 10})
        problem_of(forked, 403, "size_not_allowed")
        assert client.get(f"{JOBS}/{done}").json["status"] == "succeeded"

    @allow(max_size_px=256)
    def test_the_page_tells_it_at_the_field(self, client, make_picture):
        form = {"content": (io.BytesIO(make_picture()), "a.png"), "options.size": "300"}
        form["style"] = (io.BytesIO(make_picture(seed=1)), "b.png")
        page = client.post("/new", data=form, headers={"Accept": "text/html"})
        assert page.status_code == 403
        assert "at most 256 px are allowed here" in page.text


@allow(max_jobs=7, max_drafts=4, max_size_px=1024, max_requests_per_minute=9)
def test_a_caller_is_told_what_is_allowed_and_used(client, anna, ben, send):
    assert send(anna).status_code == 202
    assert send(anna, kind="draft").status_code == 202
    told = client.get(LIMITS, headers=anna)
    assert told.headers["Cache-Control"] == "no-store"
    assert told.json["caller"] == "anna"
    found = {one["name"]: (one["limit"], one["used"]) for one in told.json["limits"]}
    assert found == {
        "requests": (9, 3),
        "streams": (100, 0),
        "jobs": (7, 2),
        "drafts": (4, 1),
        "stored_bytes": (None, None),
        "size_px": (1024, None),
    }
    assert [one["window_seconds"] for one in told.json["limits"]] == [60, *[None] * 5]
    assert limit_of(client, ben, "jobs") == (7, 0)


def test_without_any_token_requests_and_streams_have_no_limit(client):
    assert limit_of(client, {}, "requests") == (None, None)
    assert limit_of(client, {}, "streams") == (None, 0)
    assert limit_of(client, {}, "jobs") == (10_000, 0)

"""The limits of a caller: each refuses what is too much, for that caller alone, and leaves nothing behind."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.app import stored_files
from tests.support.limits import allow, limit_of, upload
from web.access.tokens import Scope

JOBS, ASSETS, LIMITS = "/api/v1/jobs", "/api/v1/assets", "/api/v1/limits"


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


class TestPriority:
    """The highest priority of a job."""

    @allow(max_priority=6)
    def test_a_higher_one_is_refused_with_what_is_allowed(
        self, client, send, parts, nothing_left, problem_of
    ):
        refused = send(priority="7")
        problem = problem_of(refused, 403, "priority_not_allowed")
        assert problem["detail"] == "priority is 7; at most 6 is allowed here"
        assert [fault["pointer"] for fault in problem["errors"]] == ["/priority"]
        assert "Retry-After" not in refused.headers
        checked = client.post(f"{JOBS}?validate_only=true", data=parts(priority="7"))
        problem_of(checked, 403, "priority_not_allowed")
        problem_of(client.get("/api/v1/estimate?priority=7"), 403, "priority_not_allowed")
        nothing_left()
        job = send(priority="6").json
        assert job["priority"] == 6
        problem_of(client.patch(f"{JOBS}/{job['id']}", json={"priority": 7}), 403, "priority_not_allowed")
        assert client.get(f"{JOBS}/{job['id']}").json["priority"] == 6

    @allow(max_priority=2)
    def test_who_asks_for_none_gets_what_is_allowed(self, send):
        assert send().json["priority"] == 2

    def test_a_fork_keeps_its_parents_as_far_as_that_is_allowed(
        self, client, send, workshop, set_limits, problem_of
    ):
        done = send(priority="9").json["id"]
        workshop.run_through(done)
        fork = f"{JOBS}/{done}/fork"
        assert client.post(fork, json={"step": 10}).json["priority"] == 9
        set_limits(max_priority=6)
        assert client.post(fork, json={"step": 10}).json["priority"] == 6
        problem_of(client.post(fork, json={"step": 10, "priority": 7}), 403, "priority_not_allowed")

    @allow(max_priority=6)
    def test_the_page_offers_no_higher_one_and_tells_it_at_the_field(self, client, make_picture):
        offered = client.get("/new", headers={"Accept": "text/html"}).text
        assert '<option value="6"' in offered
        assert '<option value="7"' not in offered
        form = {"content": (io.BytesIO(make_picture()), "a.png"), "priority": "7"}
        form["style"] = (io.BytesIO(make_picture(seed=1)), "b.png")
        page = client.post("/new", data=form, headers={"Accept": "text/html"})
        assert page.status_code == 403
        assert "at most 6 is allowed here" in page.text


@allow(max_jobs=7, max_drafts=4, max_size_px=1024, max_priority=8, max_requests_per_minute=9)
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
        "priority": (8, None),
    }
    assert [one["window_seconds"] for one in told.json["limits"]] == [60, *[None] * 6]
    assert limit_of(client, ben, "jobs") == (7, 0)

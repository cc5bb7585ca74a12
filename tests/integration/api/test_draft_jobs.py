"""Drafts and jobs of the fast method over HTTP, with a real control and a worker that makes one step."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.broker import FAST_ROUTE
from shared.clock import from_rfc3339
from shared.redis.workers import WorkerBeat
from tests.support.app import AnnouncedPlaces, stored_files
from tests.support.engines import OneStepEngine
from web.jobs.queries import get_job
from web.services import hold_services

JOBS = "/api/v1/jobs"


@pytest.fixture
def settings(settings, request):
    """The settings of all tests, with others where a test names some."""
    return settings.model_copy(update=getattr(request, "param", {}))


@pytest.fixture
def draft(client, parts):
    """Submit a draft; return the response."""
    return lambda **changes: client.post(JOBS, data=parts(kind="draft", **changes))


@pytest.fixture
def done(draft, bench):
    """A draft that has its picture."""
    job = draft().json
    bench.work(job["id"], OneStepEngine())
    return bench.job(job["id"])


def listed(client, query=""):
    return [job["id"] for job in client.get(f"{JOBS}{query}").json["jobs"]]


def test_a_draft_is_made_by_the_fast_method_in_one_step(draft, bench):
    response = draft()
    assert response.status_code == 202
    job = response.json
    assert (job["kind"], job["options"]["method"]) == ("draft", "fast")
    assert set(job["options"]) == {"method", "size", "style_strength", "detail"}
    bench.work(job["id"], OneStepEngine())
    job = bench.job(job["id"])
    assert (job["status"], job["progress"]["step"], job["progress"]["steps"]) == ("succeeded", 1, 1)
    assert job["progress"]["loss"] is None
    assert job["weights"] == {"name": "one pass", "sha256": "1" * 64, "notice": None}
    assert bench.output(job["id"]).startswith(b"\x89PNG")
    assert bench.client.get(job["urls"]["checkpoints"]).json == {"checkpoints": []}
    assert (job["urls"]["extend"], job["urls"]["fork"]) == (None, f"{JOBS}/{job['id']}/fork")
    assert not any(key.endswith(".safetensors") or "preview" in key for key in bench.files(job["id"]))


def test_a_label_makes_no_draft_and_a_draft_stays_one_whatever_its_labels(client, parts):
    job = client.post(JOBS, data=parts(labels={"kind": "draft"}, reuse="false")).json
    a_draft = client.post(JOBS, data=parts(kind="draft", labels={"kind": "job"})).json
    assert (job["kind"], a_draft["kind"]) == ("job", "draft")
    assert (listed(client), listed(client, "?kind=draft")) == ([job["id"]], [a_draft["id"]])


def test_a_fast_job_is_not_extended(client, parts, bench):
    job = client.post(JOBS, data=parts(options={"method": "fast"})).json
    bench.work(job["id"], OneStepEngine())
    answer = client.post(f"{JOBS}/{job['id']}/extend", json={"steps": 5})
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert bench.job(job["id"])["status"] == "succeeded"


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"method": "gatys"}, "/options/method"),
        ({"steps": 5}, "/options/steps"),
        ({"init": "fast"}, "/options/init"),
        ({"detail": 1}, "/options/detail"),
    ],
)
def test_what_a_draft_cannot_have_is_refused_by_name(draft, nothing_left, options, pointer):
    response = draft(options=options)
    assert response.status_code == 422
    assert [fault["pointer"] for fault in response.json["errors"]] == [pointer]
    nothing_left()


def test_lists_counts_and_the_gallery_leave_drafts_out_unless_asked(client, submit, done):
    job = submit()
    assert listed(client) == [job["id"]]
    assert listed(client, "?kind=draft") == [done["id"]]
    assert client.get(f"{JOBS}?counts=true").json["counts"] == {"queued": 1}
    assert client.get(f"{JOBS}?kind=draft&counts=true").json["counts"] == {"succeeded": 1}
    assert client.get("/api/v1/queue").json["depth"] == 1
    page = client.get("/", headers={"Accept": "text/html"}).text
    assert job["id"] in page
    assert done["id"] not in page
    refused = client.get(f"{JOBS}?kind=sketch")
    assert refused.status_code == 400
    assert "allowed are job, draft" in refused.json["detail"]


def test_estimates_and_lines_of_the_two_methods_know_nothing_of_each_other(client, submit, draft, bench):
    for _ in range(3):
        submit()
    first = draft().json
    assert first["queue"]["position"] == 1
    assert client.get(f"{JOBS}/{submit()['id']}").json["queue"]["position"] == 4
    bench.work(first["id"], OneStepEngine())
    bench.job(first["id"])
    assert client.get("/api/v1/estimate").json["count"] == 0


def test_the_estimate_of_the_fast_method_rests_on_jobs_and_on_no_draft(client, parts, done, bench):
    fast = {"method": "fast", "size": done["options"]["size"]}
    assert client.get("/api/v1/estimate", query_string=fast).json["count"] == 0
    job = client.post(JOBS, data=parts(options={"method": "fast"}, reuse="false")).json
    bench.work(job["id"], OneStepEngine())
    assert client.get("/api/v1/estimate", query_string=fast).json["count"] == 1


def test_a_draft_is_answered_with_its_picture_in_one_round_trip(app, client, parts, bench, services):
    places = AnnouncedPlaces(1)
    hold_services(app, dataclasses.replace(services, waits=places))

    def work() -> None:
        places.is_asked.wait()
        (job_id,) = listed(bench.client, "?kind=draft")
        bench.work(job_id, OneStepEngine())

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        answer = client.post(JOBS, data=parts(kind="draft"), headers={"Prefer": "wait=40"})
        worker.result()
    assert (answer.status_code, answer.json["status"]) == (200, "succeeded")
    with client.get(answer.json["outputs"][0]["url"]) as picture:
        assert (picture.status_code, picture.mimetype) == (200, "image/png")
        assert picture.data == bench.output(answer.json["id"])


def test_a_draft_that_is_kept_is_an_ordinary_job(client, done, bench):
    before = bench.output(done["id"])
    kept = client.post(f"{JOBS}/{done['id']}/keep")
    assert (kept.status_code, kept.json["kind"], kept.json["status"]) == (200, "job", "succeeded")
    assert listed(client) == [done["id"]]
    assert listed(client, "?kind=draft") == []
    assert bench.output(done["id"]) == before
    again = client.post(f"{JOBS}/{done['id']}/keep")
    assert (again.status_code, again.json["version"]) == (200, kept.json["version"])
    assert kept.json["expires_at"] is None
    assert client.post(f"{JOBS}/no-such-job/keep").status_code == 404


def test_a_draft_says_when_it_goes_and_goes_with_its_pictures(client, done, bench, services):
    assert from_rfc3339(done["expires_at"]) - from_rfc3339(done["completed_at"]) == timedelta(days=1)
    bench.hours = 23.9
    bench.control.round()
    assert client.get(f"{JOBS}/{done['id']}").status_code == 200
    bench.hours = 24.2
    for _ in range(4):
        bench.hours += 0.1
        bench.control.round()
    assert client.get(f"{JOBS}/{done['id']}").status_code == 404
    assert bench.files(done["id"]) == {}


@pytest.mark.parametrize("settings", [{"draft_hours": 1}, {"draft_hours": 24}], indirect=True)
def test_the_pictures_that_only_a_draft_used_go_after_it_and_a_shared_one_stays(
    client, parts, make_picture, bench, settings
):
    """What nothing refers to goes when it is a day old, as `garbage_hours` is by default."""
    shared = make_picture(seed=7)
    draft = client.post(JOBS, data=parts(kind="draft", content=shared)).json
    job = client.post(JOBS, data=parts(content=shared, style=make_picture(seed=8))).json
    bench.work(draft["id"], OneStepEngine())
    bench.job(draft["id"])
    own, kept = draft["input"]["style"], draft["input"]["content"]
    assert job["input"]["content"]["asset_id"] == kept["asset_id"]
    for picture in (own, kept):
        client.get(f"/api/v1/assets/{picture['asset_id']}/thumbnail").close()
    bench.hours = settings.draft_hours + 0.1
    for _ in range(4):
        bench.hours += 0.1
        bench.control.round()
    assert client.get(f"{JOBS}/{draft['id']}").status_code == 404
    bench.hours = max(bench.hours, 24.1)
    for _ in range(8):
        bench.hours += 0.1
        bench.control.round()
    assert client.get(f"/api/v1/assets/{own['asset_id']}").status_code == 404
    assert client.get(f"/api/v1/assets/{own['asset_id']}/thumbnail").status_code == 404
    left = [str(path) for path in stored_files(settings)]
    assert not any(own["sha256"] in path for path in left)
    assert any(kept["sha256"] in path for path in left)
    with client.get(f"/api/v1/assets/{kept['asset_id']}/content") as picture:
        assert picture.status_code == 200


def test_a_job_outlives_the_draft_whose_result_it_was_given(client, done, parts, bench):
    options = {"method": "fast", "size": done["options"]["size"]}
    given = client.post(JOBS, data=parts(options=options)).json
    assert (given["status"], given["leader_id"], given["kind"]) == ("succeeded", done["id"], "job")
    bench.hours = 25
    for _ in range(4):
        bench.hours += 0.1
        bench.control.round()
    assert client.get(f"{JOBS}/{done['id']}").status_code == 404
    assert bench.output(given["id"])


def test_a_newer_draft_cancels_the_one_that_it_replaces(client, draft, submit):
    first = draft().json
    second = draft(replaces=first["id"], options={"size": 64}).json
    assert client.get(f"{JOBS}/{first['id']}").json["status"] == "canceled"
    assert second["status"] == "queued"
    job = submit()
    third = draft(replaces=job["id"], options={"size": 65})
    assert third.status_code == 202
    assert client.get(f"{JOBS}/{job['id']}").json["status"] == "queued"  # only drafts are replaced


def test_so_many_drafts_and_no_more_are_under_way_at_once(draft, services, submit):
    most = services.backend.settings.max_drafts
    made = [draft(options={"size": 64 + number}).json for number in range(most)]
    refused = draft(options={"size": 63})
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_drafts")
    assert f"{most} of your drafts" in refused.json["detail"]
    assert int(refused.headers["Retry-After"]) > 0
    assert draft(options={"size": 63}, replaces=made[0]["id"]).status_code == 202
    submit()


def test_a_draft_that_no_worker_takes_expires(draft, bench):
    job = draft().json
    bench.hours = 24.1
    bench.control.round()
    assert bench.job(job["id"])["status"] == "expired"


def test_a_job_whose_method_no_worker_serves_says_so(client, draft, submit, services, bench):
    at = bench.now()
    services.backend.redis.workers.beat(
        WorkerBeat(worker_id="old", device="cpu", weights="imagenet", started_at=at, at=at)
    )
    told = client.get(draft().json["urls"]["self"]).json["queue"]
    assert told["eligible_workers"] == 0
    assert "no worker that is connected serves the method 'fast'" in told["message"]
    assert client.get(submit()["urls"]["self"]).json["queue"]["message"] is None
    both = submit(options={"init": "fast"})
    assert "'fast' and 'gatys'" in client.get(both["urls"]["self"]).json["queue"]["message"]


def test_a_fork_of_a_fast_job_optimises_its_picture(client, done, services):
    fork = client.post(f"{JOBS}/{done['id']}/fork", json={"options": {"steps": 7}})
    assert fork.status_code == 202
    options = fork.json["options"]
    assert (options["method"], options["init"], options["steps"]) == ("gatys", "fast", 7)
    assert (options["size"], options["detail"]) == (done["options"]["size"], done["options"]["detail"])
    assert (fork.json["kind"], fork.json["origin"]) == ("job", None)
    with services.backend.database.read() as session:
        assert get_job(session, fork.json["id"]).route == "both"
        assert get_job(session, done["id"]).route == FAST_ROUTE


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"step": 1}, "/step"),
        ({"options": {"method": "fast"}}, "/options/init"),
        ({"options": {"init": "content"}}, "/options/style_strength"),
    ],
)
def test_forks_of_a_fast_job_that_make_no_sense_are_refused(client, done, body, pointer):
    refused = client.post(f"{JOBS}/{done['id']}/fork", json=body)
    assert refused.status_code in (409, 422)
    assert pointer in [fault["pointer"] for fault in refused.json["errors"]]


@pytest.mark.parametrize("shape", [(5000, 33), (33, 5000), (32, 32)])
def test_a_style_of_any_shape_is_right_for_a_draft(client, draft, make_picture, shape):
    """It is seen in squares; so that of a draft and of a job of its method are not refused as too narrow."""
    job = draft(style=make_picture(*shape)).json
    assert (job["status"], job["input"]["style"]["width"]) == ("queued", shape[0])
    body = {"content": job["input"]["content"]["asset_id"], "style": job["input"]["style"]["asset_id"]}
    for fields in ({"options": {"method": "fast"}}, {"kind": "draft", "options": {"size": 64}}):
        assert client.post(JOBS, json={**body, **fields}).status_code == 202
    told = client.post(f"{JOBS}?validate_only=true", json={**body, "kind": "draft"})
    assert told.json["working_size"]["style"] == {"width": shape[0], "height": shape[1]}


@pytest.mark.parametrize("options", [{"method": "gatys"}, {"init": "fast"}])
def test_the_same_style_is_too_narrow_for_an_optimisation(
    client, parts, draft, make_picture, nothing_left, problem_of, options
):
    narrow = make_picture(5000, 33)
    problem = problem_of(
        client.post(JOBS, data=parts(style=narrow, options=options)), 422, "image_too_narrow"
    )
    assert [fault["pointer"] for fault in problem["errors"]] == ["/style"]
    assert "choose a size of 2349 px or more" in problem["detail"]
    nothing_left()
    assert client.post(JOBS, data=parts(style=narrow, options={**options, "size": 2349})).status_code == 202


def test_a_content_is_seen_as_a_whole_by_every_method(draft, make_picture, nothing_left, problem_of):
    shapes = [make_picture(5000, 33), make_picture(33, 5000)]
    for narrow in shapes:
        problem = problem_of(draft(content=narrow), 422, "image_too_narrow")
        assert [fault["pointer"] for fault in problem["errors"]] == ["/content"]
        assert "choose a size of 2349 px or more" in problem["detail"]
        nothing_left()
    for narrow in shapes:
        assert draft(content=narrow, options={"size": 2349}).status_code == 202


@pytest.mark.parametrize("part", ["content", "style"])
@pytest.mark.parametrize("kind", ["job", "draft"])
def test_a_picture_below_the_least_side_is_refused_for_every_method(
    client, parts, make_picture, nothing_left, problem_of, part, kind
):
    answer = client.post(JOBS, data=parts(kind=kind, **{part: make_picture(20, 20)}))
    problem = problem_of(answer, 422, "image_too_small")
    assert "20 × 20 px; each side must have at least 32 px" in problem["detail"]
    nothing_left()


def test_a_fork_that_would_optimise_a_style_that_is_too_narrow_is_refused(
    client, draft, bench, make_picture, problem_of
):
    job = draft(style=make_picture(5000, 33)).json
    bench.work(job["id"], OneStepEngine())
    fork = f"{JOBS}/{job['id']}/fork"
    problem = problem_of(client.post(fork, json={"options": {"steps": 7}}), 422, "image_too_narrow")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/style"]
    assert listed(client) == []
    assert client.post(fork, json={"options": {"steps": 7, "size": 2400}}).status_code == 202


def test_a_job_with_checkpoints_is_forked_at_one_of_them(client, submit, bench):
    job = submit(options={"steps": 4, "checkpoint_every": 2})
    bench.work(job["id"])
    bench.job(job["id"])
    url = f"{JOBS}/{job['id']}/fork"
    missing = client.post(url, json={})
    assert (missing.status_code, missing.json["errors"][0]["pointer"]) == (422, "/step")
    for options, pointer in (({"method": "fast"}, "/options/method"), ({"init": "fast"}, "/options/init")):
        refused = client.post(url, json={"step": 2, "options": options})
        assert refused.status_code == 422
        assert pointer in [fault["pointer"] for fault in refused.json["errors"]]

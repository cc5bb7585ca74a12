"""Pause, resume, retry and extend over HTTP, with a real worker: what is done, and what is refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.redis.live import Flag
from tests.support.engines import DivergingEngine, SteadyEngine
from web.app import create_app
from web.jobs.queries import get_job
from web.services import services_of

JOBS = "/api/v1/jobs"
FEW = {"steps": 20, "checkpoint_every": 5, "style_weight": 0.5}
UNKNOWN = "01a20000-0000-7000-8000-000000000000"
ACTIONS = ("cancel", "pause", "resume", "retry", "extend", "fork")


@pytest.fixture
def succeeded(submit, bench):
    """A job that made 20 steps."""
    job = submit(options=FEW)
    bench.work(job["id"])
    return bench.job(job["id"])


def test_a_paused_job_resumes_at_its_step_and_ends_in_the_same_bytes(submit, bench, succeeded):
    job_id = submit(options=FEW)["id"]
    asked = []
    bench.work_until(job_id, 7, lambda: asked.extend(bench.post(job_id, "pause") for _ in range(2)))
    assert [(job["status"], job["status_reason"]) for job in asked] == [("running", "pausing")] * 2
    assert asked[0]["version"] == asked[1]["version"]
    assert asked[0]["urls"]["pause"]
    paused = bench.job(job_id)
    assert (paused["status"], paused["status_reason"], paused["progress"]["step"]) == ("paused", None, 7)
    assert bench.context.redis.claims.without_lease([job_id]) == [job_id]
    assert bench.post(job_id, "pause")["version"] == paused["version"]
    resumed = bench.post(job_id, "resume", {})
    assert (resumed["status"], resumed["queue"]["position"]) == ("queued", 1)
    assert resumed["attempt"] == {
        "number": 2, "max": 3, "worker_id": None, "device": None, "resumed_from_step": None,
    }  # fmt: skip
    engine = bench.work(job_id)
    done = bench.job(job_id)
    assert (engine.resumed_from, engine.steps_made, done["status"]) == (7, 13, "succeeded")
    assert done["attempt"]["resumed_from_step"] == 7
    assert bench.attempts(job_id) == [(1, None, "paused"), (2, 7, "succeeded")]
    assert bench.output(job_id) == bench.output(succeeded["id"])
    assert bench.post(job_id, "extend", {"steps": 1})["attempt"]["resumed_from_step"] is None


def test_a_queued_job_is_paused_at_once_and_its_message_does_no_work(submit, bench, services):
    job_id = submit(options=FEW)["id"]
    assert bench.post(job_id, "pause")["status"] == "paused"
    assert services.backend.redis.flags.read(job_id, 1) is Flag.PAUSE
    assert bench.work(job_id).steps_made == 0
    assert bench.job(job_id)["status"] == "paused"
    bench.post(job_id, "resume")
    assert bench.work(job_id).steps_made == 20
    assert bench.attempts(job_id) == [(2, None, "succeeded")]


def test_a_canceled_job_is_retried_from_its_checkpoint(submit, bench):
    job_id = submit(options=FEW)["id"]
    bench.work_until(job_id, 8, lambda: bench.post(job_id, "cancel"))
    canceled = bench.job(job_id)
    assert (canceled["status"], canceled["progress"]["step"]) == ("canceled", 8)
    assert bench.post(job_id, "cancel")["version"] == canceled["version"]
    again = bench.post(job_id, "retry")
    assert (again["status"], again["completed_at"], again["progress"]["step"]) == ("queued", None, 8)
    assert bench.work(job_id).resumed_from == 8
    assert bench.attempts(job_id) == [(1, None, "canceled"), (2, 8, "succeeded")]


@pytest.mark.parametrize(("body", "resumed_from"), [({"from": "checkpoint"}, 2), ({"from": "zero"}, None)])
def test_a_failed_job_is_retried_from_where_one_says(submit, bench, body, resumed_from):
    job_id = submit(options={**FEW, "checkpoint_every": 1})["id"]
    bench.work(job_id, DivergingEngine())
    failed = bench.job(job_id)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "loss_not_finite")
    again = bench.post(job_id, "retry", body)
    assert (again["status"], again["error"]) == ("queued", None)
    assert again["progress"]["step"] == (resumed_from or 0)
    assert bench.work(job_id).resumed_from == resumed_from
    assert bench.attempts(job_id) == [(1, None, "failed"), (2, resumed_from, "succeeded")]


def test_the_result_of_an_extended_job_is_there_until_the_next_one(bench, succeeded):
    job_id, before = succeeded["id"], bench.output(succeeded["id"])
    longer = bench.post(job_id, "extend", {"steps": 10})
    assert (longer["status"], longer["progress"]["steps"], longer["completed_at"]) == ("queued", 30, None)
    assert longer["origin"] == {"job_id": job_id, "step": 20}
    seen = []
    engine = bench.work_until(job_id, 27, lambda: seen.append((bench.job(job_id), bench.output(job_id))))
    ((running, meanwhile),) = seen
    assert (running["status"], running["urls"]["output"]) == ("running", f"{JOBS}/{job_id}/output")
    assert meanwhile == before
    assert (engine.resumed_from, engine.steps_made) == (20, 10)
    assert bench.job(job_id)["status"] == "succeeded"
    assert bench.output(job_id) != before
    assert bench.attempts(job_id) == [(1, None, "succeeded"), (2, 20, "succeeded")]


def test_an_extended_job_retried_from_zero_begins_at_step_zero(submit, bench, succeeded):
    job_id = succeeded["id"]
    bench.post(job_id, "extend", {"steps": 10})
    bench.work_until(job_id, 25, lambda: bench.post(job_id, "cancel"))
    again = bench.post(job_id, "retry", {"from": "zero"})
    assert (again["origin"], again["progress"]["step"], again["progress"]["steps"]) == (None, 0, 30)
    engine = bench.work(job_id)
    assert (engine.resumed_from, engine.steps_made) == (None, 30)
    lone = submit(options={**FEW, "steps": 30})["id"]
    bench.work(lone)
    assert bench.output(job_id) == bench.output(lone)


def test_what_cannot_be_extended(client, bench, succeeded, problem_of):
    url = succeeded["urls"]["extend"]
    problem = problem_of(client.post(url, json={"steps": 1981}), 422, "invalid_options")
    assert "1981 more would be 2001 steps" in problem["detail"]
    assert "allowed is 1 to 1980 more" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/steps"
    problem = problem_of(client.post(url), 422, "missing_part")
    assert problem["errors"][0]["pointer"] == "/steps"
    for steps in (0, -5, 1.5, "10", True, None, 10**30):
        response = client.post(url, json={"steps": steps})
        assert response.status_code in (400, 422), response.text
    state = next(key for key in bench.files(succeeded["id"]) if "00020.safetensors" in key)
    bench.context.store.delete(state)
    problem = problem_of(client.post(url, json={"steps": 5}), 409, "not_ready")
    assert (
        "the file of the checkpoint of step 20 is gone; kept are those of step 5, 10, 15" in problem["detail"]
    )
    assert bench.job(succeeded["id"])["version"] == succeeded["version"]


#: What each status is brought about by, and what is then refused.
REFUSED = {
    "queued": ("resume", "retry", "extend"),
    "paused": ("retry", "extend"),
    "succeeded": ("cancel", "pause", "resume", "retry"),
    "failed": ("cancel", "pause", "resume", "extend"),
    "canceled": ("pause", "resume", "extend"),
}


@pytest.mark.parametrize("status", REFUSED)
def test_a_refusal_says_how_the_job_is_and_what_is_allowed(client, submit, bench, problem_of, status):
    job_id = submit(options=FEW)["id"]
    if status in ("paused", "canceled"):
        bench.post(job_id, "pause" if status == "paused" else "cancel")
    elif status in ("succeeded", "failed"):
        bench.work(job_id, SteadyEngine() if status == "succeeded" else DivergingEngine())
    before = bench.job(job_id)
    assert before["status"] == status
    for action in REFUSED[status]:
        assert before["urls"][action] is None
        body = {"steps": 5} if action == "extend" else {}
        problem = problem_of(client.post(f"{JOBS}/{job_id}/{action}", json=body), 409, "invalid_state")
        assert problem["detail"].startswith(f"the job is {status}; '{action}' is allowed only when it is ")
        offered = problem["detail"].partition("allowed now: ")[2].split(", ")
        assert {name for name, url in before["urls"].items() if url and name in ACTIONS} <= set(offered)
    assert bench.job(job_id)["version"] == before["version"]


def test_unknown_jobs_and_those_of_others(client, submit, services, problem_of):
    theirs = submit()["id"]
    with services.backend.database.write() as session:
        get_job(session, theirs).caller = "another"
    bodies = {"extend": {"steps": 5}, "fork": {"step": 5}}
    for job_id in (UNKNOWN, "no-id", theirs):
        for action in ACTIONS:
            response = client.post(f"{JOBS}/{job_id}/{action}", json=bodies.get(action))
            problem_of(response, 404, "not_found")
        problem_of(client.delete(f"{JOBS}/{job_id}"), 404, "not_found")
    with services.backend.database.read() as session:
        assert get_job(session, theirs).status == "queued"


@pytest.mark.parametrize("action", ACTIONS)
def test_bodies_that_mean_nothing(client, submit, problem_of, action):
    url = f"{JOBS}/{submit()['id']}/{action}"
    for text in ("{", "[]", "null", '"x"', '{"\\ud800": 1}', "[" * 100_000):
        response = client.post(url, data=text, content_type="application/json")
        problem_of(response, 400, "invalid_request")
    problem = problem_of(client.post(url, json={"stepz": 5}), 400, "invalid_request")
    assert problem["errors"][0]["code"] == "unknown_field"
    problem_of(client.post(url, data="a=b", content_type="text/plain"), 415, "unsupported_media")
    problem_of(client.post(url + "?force=true"), 400, "invalid_request")
    problem_of(client.get(url), 405, "method_not_allowed")


def test_from_is_one_of_two(client, submit, problem_of):
    url = f"{JOBS}/{submit()['id']}/retry"
    for value in ("start", 0, None, []):
        problem = problem_of(client.post(url, json={"from": value}), 400, "invalid_request")
        assert problem["errors"][0]["pointer"] == "/from"


def test_a_repeated_extension_with_a_key_is_one_extension(client, bench, succeeded, problem_of):
    url, key = succeeded["urls"]["extend"], {"Idempotency-Key": "more"}
    first, again = (client.post(url, json={"steps": 5}, headers=key) for _ in range(2))
    assert (first.status_code, again.json) == (200, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert bench.row(succeeded["id"]).options["steps"] == 25
    problem_of(client.post(url, json={"steps": 6}, headers=key), 422, "idempotency_key_reused")


@pytest.mark.parametrize(("action", "status"), [("pause", "paused"), ("cancel", "canceled")])
def test_without_redis_the_row_changes_and_the_worker_hears_of_it_later(
    settings, submit, bench, action, status
):
    job_id = submit(options=FEW)["id"]
    app = create_app(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    seen = []

    def ask() -> None:
        response = app.test_client().post(f"{JOBS}/{job_id}/{action}")
        seen.append((response.status_code, bench.context.redis.flags.read(job_id, 1)))
        bench.control.rescuer.rescue(bench.control.projector)

    try:
        engine = bench.work_until(job_id, 7, ask)
    finally:
        services_of(app).close()
    assert seen == [(200, None)]
    assert engine.steps_made == 7
    assert bench.job(job_id)["status"] == status


def test_many_who_ask_at_once_are_all_answered(app, submit, bench):
    job_id = submit(options=FEW)["id"]
    actions = ("pause", "resume", "cancel") * 4
    begin = threading.Barrier(len(actions))

    def ask(action: str) -> int:
        begin.wait()
        return app.test_client().post(f"{JOBS}/{job_id}/{action}").status_code

    with ThreadPoolExecutor(len(actions)) as pool:
        codes = list(pool.map(ask, actions))
    assert set(codes) <= {200, 409}
    assert codes[2::3] == [200] * 4
    assert bench.job(job_id)["status"] == "canceled"
    assert bench.work(job_id).steps_made == 0

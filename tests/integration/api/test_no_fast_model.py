"""Without the model of the fast method on any worker, what needs it is refused, and told what to do."""

from __future__ import annotations

import pytest

from tests.support.engines import OneStepEngine

JOBS = "/api/v1/jobs"
WHY = "the package with the model is not installed"


@pytest.fixture
def lacking(workshop):
    """The only worker that is connected, which would serve `fast` and has no model."""
    workshop.connect("gpu-a", not_served={"fast": WHY})


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ({"options": {"method": "fast"}}, "method"),
        ({"kind": "draft"}, "method"),
        ({"options": {"init": "fast"}}, "init"),
    ],
)
@pytest.mark.parametrize("query", ["", "?validate_only=true"])
def test_it_is_refused_at_once(lacking, client, parts, problem_of, nothing_left, sent, name, query):
    problem = problem_of(client.post(f"{JOBS}{query}", data=parts(**sent)), 422, "fast_model_unavailable")
    assert [fault["pointer"] for fault in problem["errors"]] == [f"/options/{name}"]
    assert f"gpu-a: {WHY}" in problem["detail"]
    assert "requirements/fast.txt" in problem["suggestion"]
    nothing_left()


def test_the_optimisation_needs_none(lacking, client, parts):
    assert client.post(JOBS, data=parts()).status_code == 202


@pytest.mark.parametrize("pressed", [{"options.init": "fast"}, {"action": "draft"}])
def test_the_form_tells_it_too(lacking, client, parts, pressed):
    sent = {**parts(name="Harbour"), **pressed}
    page = client.post("/new", data=sent, headers={"Accept": "text/html"})
    assert page.status_code == 422
    assert WHY in page.text
    assert 'value="Harbour"' in page.text


def test_a_fork_that_needs_it_is_refused(client, parts, bench, workshop, problem_of):
    job = client.post(JOBS, data=parts(options={"method": "fast"})).json
    bench.work(job["id"], OneStepEngine())
    assert bench.job(job["id"])["status"] == "succeeded"
    workshop.connect("gpu-a", not_served={"fast": WHY})
    refused = client.post(f"{JOBS}/{job['id']}/fork", json={})
    problem = problem_of(refused, 422, "fast_model_unavailable")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/options/init"]
    assert len(client.get(JOBS).json["jobs"]) == 1


def test_a_result_that_is_there_is_given_without_a_model(client, parts, bench, workshop, problem_of):
    first = client.post(JOBS, data=parts(options={"method": "fast"})).json
    bench.work(first["id"], OneStepEngine())
    bench.job(first["id"])
    workshop.connect("gpu-a", not_served={"fast": WHY})
    again = client.post(JOBS, data=parts(options={"method": "fast"}))
    assert (again.status_code, again.json["leader_id"]) == (200, first["id"])
    anew = client.post(JOBS, data=parts(options={"method": "fast"}, reuse="false"))
    problem_of(anew, 422, "fast_model_unavailable")


def test_workers_tell_what_they_serve_and_lack(lacking, client, workshop):
    workshop.connect("light", "cpu", methods=["fast"])
    shown = {one["id"]: one for one in client.get("/api/v1/workers").json["workers"]}
    assert (shown["gpu-a"]["methods"], shown["gpu-a"]["not_served"]) == (["gatys"], {"fast": WHY})
    assert (shown["light"]["methods"], shown["light"]["not_served"]) == (["fast"], {})
    page = client.get("/workers", headers={"Accept": "text/html"}).text
    assert f"fast: {WHY}" in page


def test_a_job_that_waits_for_one_says_why_nobody_serves_it(client, parts, workshop):
    job = client.post(JOBS, data=parts(kind="draft")).json
    workshop.connect("gpu-a", not_served={"fast": WHY})
    message = client.get(job["urls"]["self"]).json["queue"]["message"]
    assert f"serves the method 'fast' (gpu-a: {WHY})" in message

"""Parameters that are refused: each is named where it is, and what a refusal says to do can be done."""

from __future__ import annotations

import json
import re

import pytest

from shared.errors import AtelierError
from tests.support.engines import SteadyEngine
from web.api.openapi import operation_of
from web.api.problems import known_codes, title_of

JOBS = "/api/v1/jobs"
UNKNOWN = "01a20000-0000-7000-8000-000000000000"

BAD_QUERIES = {
    "status=asleep": "/status",
    "label=x": "/label",
    "label=a:1&label=a:2": "/label",
    "created_after=now": "/created_after",
    "page_size=0": "/page_size",
    "page_size=ten": "/page_size",
    "counts=1": "/counts",
    "page_token=x": "/page_token",
    "sort=up": "/sort",
    "page_size=1&page_size=2": "/page_size",
    "name=a&name=b": "/name",
}


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_refused_parameter_of_a_list_is_named(client, problem_of, query):
    problem = problem_of(client.get(f"{JOBS}?{query}"), 400, "invalid_request")
    assert [fault["pointer"] for fault in problem["errors"]] == [BAD_QUERIES[query]]
    assert problem["errors"][0]["detail"] == problem["detail"]


def test_every_operation_refuses_what_it_does_not_know(app, client, problem_of):
    asked = 0
    for rule in app.url_map.iter_rules():
        if operation_of(app.view_functions[rule.endpoint]) is None:
            continue
        path = re.sub(r"<[^>]*>", "1", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            response = client.open(f"{path}?nonsense=1", method=method)
            problem = problem_of(response, 400, "invalid_request")
            assert [fault["pointer"] for fault in problem["errors"]] == ["/nonsense"], rule.rule
            asked += 1
    assert asked > 20


def test_refusals_of_bodies_parts_and_headers_are_named(client, parts, problem_of):
    def pointers(response, status, code):
        return [fault["pointer"] for fault in problem_of(response, status, code)["errors"]]

    kind = "application/json"
    assert pointers(client.post(JOBS, data="{", content_type=kind), 400, "invalid_request") == [""]
    assert pointers(client.post(JOBS, json=[]), 400, "invalid_request") == [""]
    assert pointers(client.post(JOBS, data=parts(labels="{")), 400, "invalid_request") == ["/labels"]
    assert pointers(client.post(JOBS, data=parts(name=b"\xff")), 400, "invalid_request") == ["/name"]
    assert pointers(client.post(f"{JOBS}?validate_only=maybe", data=parts()), 400, "invalid_request") == [
        "/validate_only"
    ]
    refused = client.post(JOBS, data=parts(), headers={"Idempotency-Key": ""})
    assert pointers(refused, 400, "invalid_request") == ["/Idempotency-Key"]
    assert client.post(JOBS, data=parts(), headers={"Idempotency-Key": "k"}).status_code == 202
    reused = client.post(JOBS, data=parts(name="x"), headers={"Idempotency-Key": "k"})
    assert pointers(reused, 422, "idempotency_key_reused") == ["/Idempotency-Key"]
    assert pointers(client.get(f"{JOBS}/{UNKNOWN}"), 404, "not_found") == ["/job_id"]
    assert pointers(client.get(f"/api/v1/assets/{UNKNOWN}"), 404, "not_found") == ["/asset_id"]
    assert pointers(client.post("/api/v1/workers/nobody/drain"), 404, "not_found") == ["/worker_id"]
    assert pointers(client.get("/nope"), 404, "not_found") == []


def test_an_option_beside_options_is_sent_into_them(client, parts, problem_of):
    problem = problem_of(client.post(JOBS, data=parts(steps="10")), 400, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/steps"
    assert "put it into options" in problem["detail"]
    told = problem["detail"].partition("options=")[2]
    assert client.post(JOBS, data=parts(options=told)).json["options"]["steps"] == 10
    body = {"content": "x", "style": "y", "steps": 10}
    problem = problem_of(client.post(JOBS, json=body), 400, "invalid_request")
    assert json.loads("{" + problem["detail"].partition("as in ")[2] + "}") == {"options": {"steps": 10}}
    problem = problem_of(client.post(JOBS, data=parts(stepz="10")), 400, "invalid_request")
    assert "did you mean the option steps? Put it into options" in problem["detail"]
    problem = problem_of(client.post(f"{JOBS}?steps=10", data=parts()), 400, "invalid_request")
    assert "put it into options, in the body" in problem["detail"]
    problem = problem_of(client.post(f"{JOBS}?name=x", data=parts()), 400, "invalid_request")
    assert "send it in the body" in problem["detail"]
    problem = problem_of(client.post(f"{JOBS}/x/fork", json={"step": 1, "size": 64}), 400, "invalid_request")
    assert "put it into options" in problem["detail"]


def test_one_code_has_one_title(client, parts, problem_of):
    kinds: list[type[AtelierError]] = [AtelierError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert kind.title() == title_of(kind.code), kind
    documented = {code: title for code, _, title in known_codes()}
    answers = [
        client.get("/nope"),
        client.get(f"{JOBS}/{UNKNOWN}"),
        client.put(JOBS),
        client.post(JOBS),
        client.post(JOBS, data=parts(content=b"%PDF-1.7")),
        client.post(JOBS, data="{", content_type="application/json"),
        client.get(f"{JOBS}?page_size=0"),
        client.post(JOBS, data=" " * 1_100_000, content_type="application/json"),
    ]
    for answer in answers:
        problem = problem_of(answer, answer.status_code, answer.json["code"])
        assert problem["title"] == documented[problem["code"]]
        assert problem["type"] == f"/docs#{problem['code']}"


def test_what_is_named_as_allowed_now_is_allowed(client, submit, bench, problem_of):
    """Also of a job that was given another's result: it has no checkpoints, so no fork and no extension."""
    first = submit(options={"steps": 10, "checkpoint_every": 5}, reuse="true")
    bench.work(first["id"], SteadyEngine())
    response = client.get(first["urls"]["self"])
    given = client.post(
        JOBS,
        json={
            **{part: first["input"][part]["asset_id"] for part in ("content", "style")},
            "options": {"steps": 10, "checkpoint_every": 5},
        },
    )
    assert (response.json["status"], given.json["status_reason"]) == ("succeeded", "reused")
    for job, allowed in ((response.json, {"extend", "fork", "delete"}), (given.json, {"delete"})):
        problem = problem_of(client.post(f"{job['urls']['self']}/cancel"), 409, "invalid_state")
        offered = set(problem["detail"].partition("allowed now: ")[2].split(", "))
        assert offered == allowed
        actions = {"cancel", "pause", "resume", "retry", "extend", "fork", "delete"}
        assert offered == {name for name in actions if job["urls"][name]}


def test_the_steps_that_a_refusal_allows_are_allowed(client, submit, bench, problem_of):
    job = submit(options={"steps": 10, "checkpoint_every": 5})
    bench.work(job["id"], SteadyEngine())
    url = f"{job['urls']['self']}/extend"
    problem = problem_of(client.post(url, json={"steps": 2000}), 422, "invalid_options")
    most = int(re.search(r"allowed is 1 to (\d+) more", problem["detail"])[1])
    problem_of(client.post(url, json={"steps": most + 1}), 422, "invalid_options")
    problem = problem_of(client.post(f"{job['urls']['self']}/fork", json={"step": 7}), 409, "not_ready")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/step"]
    kept = re.search(r"kept are those of step ([\d, ]+)", problem["detail"])[1].split(", ")
    for step in map(int, kept):
        fork = client.post(f"{job['urls']['self']}/fork", json={"step": step, "options": {"steps": 11}})
        assert fork.status_code == 202, fork.text
    assert client.post(url, json={"steps": most}).status_code == 200


def test_steps_whose_file_is_gone_are_not_offered(client, submit, bench, problem_of):
    job = submit(options={"steps": 10, "checkpoint_every": 5})
    bench.work(job["id"], SteadyEngine())
    gone = next(key for key in bench.files(job["id"]) if "00005.safetensors" in key)
    bench.context.store.delete(gone)
    problem = problem_of(client.post(f"{job['urls']['self']}/fork", json={"step": 7}), 409, "not_ready")
    assert "kept are those of step 10" in problem["detail"]

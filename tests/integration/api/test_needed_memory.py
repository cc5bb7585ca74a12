"""Jobs that no worker could hold are refused at submit, and whoever only asks is told what they take."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable

import pytest

from shared.memory import DeviceKind, Seat
from shared.options import StyleOptions

JOBS = "/api/v1/jobs"
CHECK = f"{JOBS}?validate_only=true"
SIZE = {"size": 512}
PICTURE = 512, 384
SEAT = Seat(DeviceKind.CPU, "imagenet")
NEEDED = SEAT.process_bytes + SEAT.job_bytes(StyleOptions(size=512), PICTURE, PICTURE)


@pytest.fixture
def body(client, make_picture) -> Callable[..., dict[str, object]]:
    """A maker of bodies of two pictures of 512 × 384 px."""
    ids = []
    for seed in (1, 2):
        picture = make_picture(*PICTURE, seed=seed)
        answer = client.post("/api/v1/assets", data={"file": (io.BytesIO(picture), "a.png")})
        ids.append(answer.json["id"])

    def make(**options: object) -> dict[str, object]:
        return {"content": ids[0], "style": ids[1], "options": {**SIZE, **options}}

    return make


def test_what_no_worker_could_hold_is_refused_with_the_largest_size_that_fits(
    client, workshop, body, problem_of
):
    there = NEEDED * 2 // 3
    workshop.connect("small", "cpu", weights="imagenet", job_memory_bytes=there // 2)
    workshop.connect("large", "cpu", weights="imagenet", job_memory_bytes=there)
    for address in (JOBS, CHECK):
        problem = problem_of(client.post(address, json=body()), 422, "insufficient_memory")
        assert [fault["pointer"] for fault in problem["errors"]] == ["/options/size"]
        assert f"about {NEEDED / 1e9:.1f} GB" in problem["detail"]
        assert f"at most {there / 1e6:.0f} MB could be had, at large" in problem["detail"]
        assert "a smaller size" in problem["suggestion"]
    assert client.get(JOBS).json["jobs"] == []
    largest = int(re.search(r"the largest size that fits is (\d+)", problem["detail"])[1])
    assert 32 < largest < 512
    assert client.post(JOBS, json=body(size=largest)).status_code == 202


def test_what_may_fit_is_taken(client, workshop, body):
    workshop.connect("large", "cpu", weights="imagenet", job_memory_bytes=int(NEEDED * 0.86))
    assert client.post(JOBS, json=body()).status_code == 202


@pytest.mark.parametrize(
    "other",
    [
        {"weights": "imagenet"},  # of an older release
        {"device": "rocm:0", "weights": "imagenet", "job_memory_bytes": 1},
        {"device": "cuda:0", "weights": "imagenet", "job_memory_bytes": 80 * 10**9},
    ],
)
def test_one_worker_that_could_hold_it_or_does_not_say_is_enough(client, workshop, body, other):
    workshop.connect("small", "cpu", weights="imagenet", job_memory_bytes=10**6)
    workshop.connect("other", **other)
    assert client.post(JOBS, json=body()).status_code == 202


def test_workers_of_other_methods_do_not_count(client, workshop, body, problem_of):
    assert client.post(JOBS, json=body()).status_code == 202  # nobody is there
    workshop.connect("light", "cpu", weights="magenta-int8", methods=["fast"], job_memory_bytes=10**6)
    assert client.post(JOBS, json={**body(), "reuse": False}).status_code == 202
    problem_of(
        client.post(JOBS, json={**body(), "options": {"method": "fast"}, "reuse": False}),
        422,
        "insufficient_memory",
    )


def test_no_style_is_too_narrow_for_the_fast_method(client, workshop, make_picture, problem_of):
    there = 310 * 10**6  # enough for a picture of some hundred pixels
    workshop.connect("light", "cpu", weights="magenta-int8", methods=["fast"], job_memory_bytes=there)
    data = {
        "content": (io.BytesIO(make_picture(1600, 1200)), "content.png"),
        "style": (io.BytesIO(make_picture(3200, 32)), "style.png"),
        "options": json.dumps({"method": "fast", "size": 1600, "detail": 1600}),
    }
    problem = problem_of(client.post(JOBS, data=data), 422, "insufficient_memory")
    assert 32 < int(re.search(r"the largest size that fits is (\d+)", problem["detail"])[1]) < 1600


def test_a_result_that_is_there_is_given_whatever_it_took(client, workshop, body, problem_of):
    first = client.post(JOBS, json=body()).json
    workshop.run_through(first["id"])
    workshop.connect("small", "cpu", weights="imagenet", job_memory_bytes=10**6)
    again = client.post(JOBS, json=body())
    assert (again.status_code, again.json["leader_id"]) == (200, first["id"])
    problem_of(client.post(JOBS, json={**body(), "reuse": False}), 422, "insufficient_memory")


def test_whoever_only_asks_is_told_what_it_takes(client, workshop, body):
    memory = client.post(CHECK, json=body()).json["memory"]
    assert memory == {"needed_bytes": NEEDED, "available_bytes": None}
    workshop.connect("a", "cpu", weights="imagenet", job_memory_bytes=NEEDED * 2)
    workshop.connect("b", "cpu", weights="untrained", job_memory_bytes=NEEDED)
    memory = client.post(CHECK, json=body()).json["memory"]
    assert memory == {"needed_bytes": NEEDED, "available_bytes": NEEDED * 2}


def test_workers_tell_what_a_job_could_have(client, workshop):
    workshop.connect("new", "cpu", job_memory_bytes=7)
    workshop.connect("old", "cpu")
    told = {one["id"]: one["memory"]["job_bytes"] for one in client.get("/api/v1/workers").json["workers"]}
    assert told == {"new": 7, "old": None}


def test_the_form_tells_it_too(client, workshop, parts, make_picture):
    workshop.connect("small", "cpu", weights="imagenet", job_memory_bytes=10**6)
    page = client.post("/new", data=parts(name="Harbour"), headers={"Accept": "text/html"})
    assert page.status_code == 422
    assert "not even the smallest size fits there" in page.text
    assert 'value="Harbour"' in page.text

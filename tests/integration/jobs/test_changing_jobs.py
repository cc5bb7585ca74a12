"""Priority, name and labels over HTTP: what a job is given, what can be changed, and what follows from it."""

from __future__ import annotations

import pytest

from web.jobs.routing import queue_rank

JOBS = "/api/v1/jobs"
FEW = {"steps": 20, "checkpoint_every": 5}
UNKNOWN = "01a20000-0000-7000-8000-000000000000"


@pytest.fixture
def alone(submit):
    """Submit a job that no other one does the work of; return its id."""

    def do(**fields: object) -> str:
        return submit(options=FEW, reuse="false", **fields)["id"]

    return do


def place(bench, job_id: str) -> int:
    return bench.job(job_id)["queue"]["position"]


def test_the_queue_goes_by_priority_and_then_by_age(alone, bench):
    ids = [alone(**fields) for fields in ({}, {"priority": "2"}, {"priority": "9"}, {}, {"priority": "9"})]
    assert [bench.job(job_id)["priority"] for job_id in ids] == [5, 2, 9, 5, 9]
    assert [place(bench, job_id) for job_id in ids] == [3, 5, 1, 4, 2]
    listed = {job["id"]: job["queue"]["position"] for job in bench.client.get(JOBS).json["jobs"]}
    assert [listed[job_id] for job_id in ids] == [3, 5, 1, 4, 2]


def test_an_estimate_is_that_of_the_priority(alone, client):
    for priority in ("1", "5", "5", "8"):
        alone(priority=priority)
    for priority, expected in (("9", 1), ("8", 2), ("5", 4), ("1", 5), ("0", 5)):
        asked = client.get(f"/api/v1/estimate?priority={priority}").json
        assert asked["queue"]["position"] == expected
    assert client.get("/api/v1/estimate").json["queue"]["position"] == 4


@pytest.mark.parametrize("value", ["10", "-1", "high", "1.5"])
def test_what_is_no_priority_is_refused(client, parts, submit, problem_of, value):
    refused = client.post(JOBS, data=parts(priority=value))
    assert refused.status_code in (400, 422)
    assert [fault["pointer"] for fault in refused.json["errors"]] == ["/priority"]
    estimate = client.get(f"/api/v1/estimate?priority={value}")
    assert estimate.status_code in (400, 422)
    job_id = submit()["id"]
    changed = client.patch(f"{JOBS}/{job_id}", json={"priority": value})
    assert [fault["pointer"] for fault in changed.json["errors"]] == ["/priority"]


def test_a_queued_job_is_changed_and_says_so(alone, client, bench):
    first, second = alone(), alone(name="old", labels='{"a": "1", "b": "2"}')
    before = bench.job(second)
    answer = client.patch(
        f"{JOBS}/{second}", json={"priority": 8, "name": " new ", "labels": {"b": "3", "c": "4"}}
    )
    assert answer.status_code == 200
    assert answer.json == bench.job(second)
    assert (answer.json["priority"], answer.json["name"]) == (8, "new")
    assert answer.json["labels"] == {"b": "3", "c": "4"}
    assert answer.json["queue"]["position"] == 1
    assert answer.json["version"] == before["version"] + 1
    assert answer.json["urls"]["change"] == f"{JOBS}/{second}"
    assert place(bench, first) == 2
    for query, expected in (
        ("label=a:1", []),
        ("label=b:3", [second]),
        ("name=old", []),
        ("name=NEW", [second]),
    ):
        assert [job["id"] for job in client.get(f"{JOBS}?{query}").json["jobs"]] == expected
    bench.work(second)
    done = bench.job(second)
    assert (done["status"], done["priority"], done["labels"]) == ("succeeded", 8, {"b": "3", "c": "4"})


def test_what_is_not_given_stays_and_what_is_the_same_is_no_news(alone, client, bench):
    job_id = alone(name="name", labels='{"a": "1"}')
    before = bench.job(job_id)
    for body in ({}, {"priority": 5}, {"name": "name"}, {"labels": {"a": "1"}}, {"name": None}):
        assert client.patch(f"{JOBS}/{job_id}", json=body).json == before
    assert client.patch(f"{JOBS}/{job_id}", json={"name": "", "labels": {}}).json["name"] is None
    emptied = bench.job(job_id)
    assert (emptied["labels"], emptied["priority"]) == ({}, 5)


def test_who_watches_hears_of_it(alone, client, services):
    job_id = alone()
    client.patch(f"{JOBS}/{job_id}", json={"priority": 9, "labels": {"a": "1"}})
    client.post(f"{JOBS}/{job_id}/cancel")
    told = client.get(f"{JOBS}/{job_id}/events", headers={"Last-Event-ID": "1"}).get_data(as_text=True)
    assert 'event: change\ndata: {"priority": 9, "labels": {"a": "1"}}' in told
    page = client.get(f"/jobs/{job_id}", headers={"Accept": "text/html"}).text
    assert "priority changed to 9; labels changed to a:1" in page


def test_the_counts_of_a_label_follow(alone, client):
    marked, plain = alone(labels='{"a": "1"}'), alone()
    count = f"{JOBS}?label=a:1&counts=true"
    assert client.get(count).json["counts"] == {"queued": 1}
    client.patch(f"{JOBS}/{plain}", json={"labels": {"a": "1"}})
    assert client.get(count).json["counts"] == {"queued": 2}
    client.patch(f"{JOBS}/{marked}", json={"labels": {}})
    assert client.get(count).json["counts"] == {"queued": 1}


def test_a_paused_job_waits_by_its_new_priority(alone, client, bench):
    other, job_id = alone(), alone()
    bench.post(job_id, "pause")
    assert client.patch(f"{JOBS}/{job_id}", json={"priority": 6}).json["status"] == "paused"
    bench.post(job_id, "resume")
    assert (place(bench, job_id), place(bench, other)) == (1, 2)


def test_a_job_that_has_begun_or_ended_is_not_changed(alone, client, bench, problem_of):
    job_id = alone()
    asked = []
    bench.work_until(job_id, 7, lambda: asked.append(client.patch(f"{JOBS}/{job_id}", json={"priority": 9})))
    problem = problem_of(asked[0], 409, "invalid_state")
    assert problem["detail"].startswith("the job is running; priority, name and labels can be changed only")
    problem_of(client.patch(f"{JOBS}/{job_id}", json={"name": "x"}), 409, "invalid_state")
    assert (bench.job(job_id)["priority"], bench.job(job_id)["urls"]["change"]) == (5, None)
    problem_of(client.patch(f"{JOBS}/{UNKNOWN}", json={"priority": 9}), 404, "not_found")


def test_a_change_is_made_at_the_version_that_was_seen(alone, client, bench):
    job_id = alone()
    seen = client.get(f"{JOBS}/{job_id}").headers["ETag"]
    first = client.patch(f"{JOBS}/{job_id}", json={"priority": 6}, headers={"If-Match": seen})
    second = client.patch(f"{JOBS}/{job_id}", json={"priority": 7}, headers={"If-Match": seen})
    assert (first.status_code, second.status_code) == (200, 412)
    assert bench.job(job_id)["priority"] == 6


@pytest.mark.parametrize("later", [False, True])
def test_a_job_that_others_wait_for_goes_as_early_as_they_would(submit, alone, client, bench, later):
    """The urgent one is the same work: it waits for the other, which is not to hold it up."""
    leader = submit(options=FEW, reuse="true", priority="1")["id"]
    usual = alone()
    bench.control.round()
    asked = {} if later else {"priority": "9"}
    follower = submit(options=FEW, reuse="true", **asked)["id"]
    if later:
        client.patch(f"{JOBS}/{follower}", json={"priority": 9})
    assert bench.job(follower)["leader_id"] == leader
    assert [place(bench, job_id) for job_id in (leader, follower, usual)] == [1, 1, 2]
    assert bench.job(leader)["priority"] == 1
    assert bench.row(leader).queue_rank == queue_rank(9)
    bench.control.round()
    entries = bench.control.dispatcher._dispatch.look().entries
    assert entries[0].message_id == f"{leader}:1"


def test_a_less_urgent_follower_holds_nobody_up(submit, bench):
    leader = submit(options=FEW, reuse="true", priority="7")["id"]
    assert submit(options=FEW, reuse="true", priority="2")["leader_id"] == leader
    assert bench.row(leader).queue_rank == queue_rank(7)

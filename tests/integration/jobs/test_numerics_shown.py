"""What API and pages say of how a job was computed; forks, extensions and reuse keep to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.broker import route_at
from shared.clock import utc_now
from shared.redis.workers import WorkerBeat
from tests.support.bench import Bench, usual_list
from tests.support.engines import WeighingEngine
from web.control.messages import message_for
from worker.runner import Outcome, Runner

JOBS = "/api/v1/jobs"
FEW = {"steps": 20, "checkpoint_every": 5}
HERE, THERE = {"gatys": "cpu (here)"}, {"gatys": "cuda (there)"}
WORDS = "went on on another"


def work(bench: Bench, job_id: str, numerics: dict[str, str], *, drain_at: int = 0) -> Outcome:
    """Carry a job out on a node of some numerics; drained at a step, if one is given."""
    engine = WeighingEngine()
    node = replace(bench.context, numerics=numerics)
    runner = Runner(node, engine, draining=lambda: 0 < drain_at <= engine.steps_made)
    outcome = runner.run(message_for(bench.row(job_id)))
    bench.control.projector.drain()
    return outcome


def connect(bench: Bench, name: str, numerics: dict[str, str]) -> None:
    now = utc_now()
    bench.control.backend.redis.workers.beat(
        WorkerBeat(worker_id=name, device=name, weights="w", started_at=now, at=now, numerics=numerics)
    )


@pytest.fixture
def moved(submit, bench):
    """A job that was begun here and ended elsewhere."""
    job_id = submit(options=FEW)["id"]
    assert work(bench, job_id, HERE, drain_at=7) is Outcome.RELEASED
    assert work(bench, job_id, THERE) is Outcome.ENDED
    return bench.job(job_id)


def test_a_job_that_stayed_where_it_was(client, submit, bench):
    job_id = submit(options=FEW)["id"]
    assert (bench.job(job_id)["numerics"], bench.job(job_id)["exact"]) == (None, None)
    work(bench, job_id, HERE)
    job = bench.job(job_id)
    assert (job["numerics"], job["exact"]) == ("cpu (here)", True)
    (attempt,) = client.get(f"{JOBS}/{job_id}/attempts").json["attempts"]
    assert (attempt["numerics"], attempt["exact"]) == ("cpu (here)", True)
    kept = client.get(f"{JOBS}/{job_id}/checkpoints").json["checkpoints"]
    assert {one["numerics"] for one in kept} == {"cpu (here)"}
    page = client.get(f"/jobs/{job_id}").text
    assert "cpu (here)" in page
    assert WORDS not in page


def test_a_job_that_moved_says_so_everywhere(client, bench, moved):
    assert (moved["status"], moved["numerics"], moved["exact"]) == ("succeeded", "cuda (there)", False)
    (attempt,) = client.get(f"{JOBS}/{moved['id']}/attempts").json["attempts"]
    assert (attempt["numerics"], attempt["exact"]) == ("cuda (there)", False)
    page = client.get(f"/jobs/{moved['id']}").text
    assert WORDS in page
    assert "not exact: begun on another kind" in page
    assert "/docs#numerics" in page
    assert '<section id="numerics">' in client.get("/docs").text
    assert "for 60 s" in client.get("/docs").text


def test_its_result_is_nobody_elses(client, parts, bench, moved):
    again = client.post(JOBS, data=parts(options=FEW)).json
    assert (again["status"], again["leader_id"]) == ("queued", None)
    work(bench, again["id"], HERE)
    third = client.post(JOBS, data=parts(options=FEW)).json
    assert (third["status"], third["leader_id"]) == ("succeeded", again["id"])
    assert (third["numerics"], third["exact"]) == ("cpu (here)", True)


def test_a_fork_begins_where_its_checkpoint_was_made(client, bench, moved):
    connect(bench, "a", HERE)
    connect(bench, "b", THERE)
    for step, numerics in ((5, HERE), (15, THERE)):
        fork = bench.post(moved["id"], "fork", {"step": step})
        assert fork["numerics"] == numerics["gatys"]
        bench.control.round()
        assert bench.row(fork["id"]).pinned_to == numerics["gatys"]
        queue = usual_list(bench.context.redis.names, route_at("any", numerics["gatys"]))
        assert bench.context.redis.client.llen(queue) == 1
        shown = bench.job(fork["id"])
        assert shown["queue"]["message"] == f"goes on where it was begun, on {numerics['gatys']}"
        work(bench, fork["id"], numerics)
        # A checkpoint of a mixture makes a mixture of whatever begins with it.
        assert bench.job(fork["id"])["exact"] is (step == 5)


def test_an_extended_job_goes_on_where_it_ended(submit, bench):
    job_id = submit(options=FEW)["id"]
    work(bench, job_id, HERE)
    connect(bench, "a", HERE)
    connect(bench, "b", THERE)
    bench.post(job_id, "extend", {"steps": 5})
    bench.control.round()
    assert bench.row(job_id).pinned_to == "cpu (here)"


def test_a_fork_that_is_retried_from_zero_begins_where_its_origin_was_made(bench, moved):
    fork = bench.post(moved["id"], "fork", {"step": 5})
    work(bench, fork["id"], THERE)  # nobody else was there
    assert bench.job(fork["id"])["exact"] is False
    with bench.control.backend.database.write() as session:
        row = session.merge(bench.row(fork["id"]), load=False)
        row.status, row.outputs = "failed", []
    bench.post(fork["id"], "retry", {"from": "zero"})
    assert bench.row(fork["id"]).numerics == "cpu (here)"


def test_workers_say_their_numerics(client, bench):
    connect(bench, "a", HERE)
    connect(bench, "old", {})
    told = {one["id"]: one["numerics"] for one in client.get("/api/v1/workers").json["workers"]}
    assert told == {"a": HERE, "old": {}}
    page = client.get("/workers").text
    assert page.count("What decides the bytes") == 1
    assert "gatys: cpu (here)" in page

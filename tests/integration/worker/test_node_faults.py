"""Real nodes, one of which fails whatever it is given."""

from __future__ import annotations

import pytest

from tests.integration.worker.test_node_drain import (
    client,
    is_in,
    start,
    submit,
    wait_for,
    worker,
)

pytestmark = pytest.mark.process

__all__ = ["client", "start"]


def test_a_node_that_fails_everything_fails_no_job_and_rests(client, start, make_picture):
    start("broken", step_seconds=0.01, breaks=True) wait_for(is_in(client, "broken", "idle")) jobs =
    [submit(client, make_picture, steps=3 + number) for number in range(4)] resting = wait_for(is_in(client,
    "broken", "unhealthy")) assert resting["reason"].startswith("it failed 3 jobs in a row; the last:
    engine_failed: RuntimeError: CUDA") # Its child was replaced each time, and it takes nothing now. waiting
    = [client.get(job["urls"]["self"]).json for job in jobs] assert {job["status"] for job in waiting} <=
    {"queued", "failed"} failed = [job for job in waiting if job["status"] == "failed"] assert len(failed) <=
    1, "only a job that it failed three times, as it was the only node there is" start("well",
    step_seconds=0.01) left = [job for job in jobs if job["id"] not in {one["id"] for one in failed}] for job
    in left:
        done = wait_for(lambda url=job["urls"]["self"]: is_done(client, url))
        assert (done["status"], done["attempt"]["worker_id"]) == ("succeeded", "well")
    assert worker(client, "broken")["state"] == "unhealthy"


def is_done(client, url):
    job = client.get(url).json
    return job if job["status"] in ("succeeded", "failed") else None

"""A job as JSON: pure, from a row that no database has seen."""

from __future__ import annotations

import json
import math

import pytest

from shared.redis.live import LiveProgress
from shared.status import JobStatus
from tests.support.job_rows import job
from web.api.job_view import job_to_json, live_part
from web.db.models import Job
from web.jobs.estimates import QueueState, seconds_ahead
from web.jobs.states import allowed_requests


def live(**changes: object) -> LiveProgress:
    values = {
        "attempt": 2, "step": 20, "steps": 50, "loss_total": 2.5, "loss_content": 1.0,
        "loss_style": 1.5, "steps_per_second": 3.0, **changes,
    }  # fmt: skip
    return LiveProgress(**values)


def shown(row: Job, progress: LiveProgress | None = None) -> dict:
    return job_to_json(row, live=progress, position=None, queue=None)


def test_running_with_live_progress():
    data = shown(job(), live())
    assert data["created_at"] == "2026-11-23T08:47:41.120Z"
    assert data["progress"] == {
        "value": 0.4, "step": 20, "steps": 50,
        "loss": {"total": 2.5, "content": 1.0, "style": 1.5}, "steps_per_second": 3.0,
    }  # fmt: skip
    assert data["eta"] == {"seconds": 10.0}
    assert data["attempt"] == {
        "number": 2, "max": 3, "worker_id": "gpu-a", "device": "cuda:0", "resumed_from_step": 10,
    }  # fmt: skip
    assert data["labels"] == {"a": "b"}
    assert data["name"] is None
    assert data["metrics"]["queue_seconds"] == 2.0


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        (JobStatus.RUNNING, None),
        (JobStatus.RUNNING, live(attempt=1)),
        (JobStatus.RUNNING, live(attempt=3)),
        (JobStatus.RUNNING, live(step=9)),
        (JobStatus.QUEUED, live()),
        (JobStatus.FAILED, live()),
    ],
)
def test_otherwise_the_row_tells(status, progress):
    row = job(status)
    assert live_part(row, progress) is None
    data = shown(row, progress)
    assert data["progress"]["step"] == 10
    assert data["progress"]["loss"]["total"] == 3.0
    assert data["progress"]["steps_per_second"] is None
    assert data["eta"] is None


def test_canceling_shows_progress_but_no_end():
    data = shown(job(JobStatus.CANCELING), live())
    assert data["progress"]["step"] == 20
    assert data["eta"] is None


def test_numbers_that_json_does_not_have():
    data = shown(job(), live(loss_total=math.nan, steps_per_second=math.inf))
    assert data["progress"]["loss"]["total"] is None
    assert data["progress"]["steps_per_second"] is None
    json.dumps(data, allow_nan=False)
    assert shown(job(), live(steps_per_second=0.0))["eta"] is None
    assert shown(job(), live(steps_per_second=math.nan))["eta"] is None


#: What is offered at each status to a job of which a checkpoint is kept.
OFFERED = {
    JobStatus.QUEUED: {"cancel", "pause", "change", "fork"},
    JobStatus.RUNNING: {"cancel", "pause", "fork"},
    JobStatus.PAUSED: {"cancel", "pause", "resume", "change", "fork"},
    JobStatus.CANCELING: {"cancel", "fork"},
    JobStatus.SUCCEEDED: {"extend", "fork", "delete"},
    JobStatus.FAILED: {"retry", "fork", "delete"},
    JobStatus.CANCELED: {"cancel", "retry", "fork", "delete"},
    JobStatus.EXPIRED: {"retry", "fork", "delete"},
}
ACTIONS = {"cancel", "pause", "resume", "retry", "extend", "change", "fork", "delete"}


def offered(row: Job) -> set[str]:
    return {name for name, url in shown(row)["urls"].items() if name in ACTIONS and url is not None}


@pytest.mark.parametrize("status", JobStatus)
def test_links_follow_the_state_table(status):
    urls = shown(job(status))["urls"]
    assert offered(job(status)) == OFFERED[status]
    assert set(allowed_requests(status)) == OFFERED[status]
    for name in OFFERED[status]:
        itself = name in ("change", "delete")
        assert urls[name] == ("/api/v1/jobs/j1" if itself else f"/api/v1/jobs/j1/{name}")
    assert urls["self"] == "/api/v1/jobs/j1"


def test_a_job_asked_to_pause_can_be_asked_again():
    assert "pause" in offered(job(JobStatus.RUNNING, status_reason="pausing"))


def test_without_a_checkpoint_there_is_nothing_to_fork_or_extend():
    origin = {"job_id": "parent", "step": 10, "key": "k", "sha256": "x"}
    for row in (
        job(JobStatus.CANCELED, step=0, losses=None),
        job(JobStatus.CANCELED, step=10, origin=origin),
        job(JobStatus.SUCCEEDED, status_reason="reused"),
    ):
        assert not offered(row) & {"fork", "extend"}
    assert "fork" in offered(job(JobStatus.CANCELED, step=11, origin=origin))
    assert "extend" in offered(job(JobStatus.SUCCEEDED, step=10, origin={**origin, "job_id": "j1"}))


def test_the_origin_is_shown_without_its_key():
    origin = {"job_id": "parent", "step": 10, "key": "k", "sha256": "x"}
    assert shown(job(origin=origin))["origin"] == {"job_id": "parent", "step": 10}
    assert shown(job())["origin"] is None


def test_outputs_have_no_keys():
    output = {
        "name": "result.png", "key": "jobs/j1/attempt-2/result.png", "content_type": "image/png",
        "size_bytes": 5, "sha256": "x", "width": 64, "height": 48,
    }  # fmt: skip
    data = shown(job(JobStatus.SUCCEEDED, outputs=[output, output]))
    assert data["outputs"][0]["url"] == data["urls"]["output"] == "/api/v1/jobs/j1/output"
    assert data["outputs"][1]["url"] is None
    assert "key" not in data["outputs"][0]


@pytest.mark.parametrize(
    ("workers", "message"), [(None, "Redis does not answer"), (0, "no worker is connected"), (2, None)]
)
def test_queue_says_why_nothing_happens(workers, message):
    queue = QueueState(running=0, workers=workers, run_seconds=[], no_start=message)
    data = job_to_json(job(JobStatus.QUEUED), live=None, position=4, queue=queue)["queue"]
    assert (data["position"], data["eligible_workers"], data["ahead_seconds"]) == (4, workers, None)
    assert data["message"] == message


@pytest.mark.parametrize(
    ("position", "running", "workers", "run_seconds", "expected"),
    [
        (1, 0, 1, [10], 0.0),
        (1, 1, 1, [10], 5.0),
        (2, 1, 1, [10, 20], 22.5),
        (2, 0, 2, [10], 0.0),
        (3, 0, 2, [10], 2.5),
        (1, 3, 1, [10], 5.0),
        (1, 0, 0, [10], None),
        (1, 0, None, [10], None),
        (1, 0, 1, [], 0.0),
        (2, 0, 1, [], None),
    ],
)
def test_seconds_ahead(position, running, workers, run_seconds, expected):
    assert seconds_ahead(position, QueueState(running, workers, run_seconds)) == expected

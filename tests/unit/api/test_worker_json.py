"""Workers and the queue as JSON."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.redis.workers import WorkerBeat, WorkerJob, WorkerState
from web.api.workers import message_of, queue_to_json, worker_to_json, workers_to_json
from web.jobs.estimates import START_ONE
from web.jobs.queries import QueueCounts

NOW = utc_now()


def beat(**changes: object) -> WorkerBeat:
    facts = {"worker_id": "gpu a", "device": "cpu", "weights": "untrained", "started_at": NOW, "at": NOW}
    return WorkerBeat(**{**facts, **changes})


IDLE, DRAINING = beat(), beat(state=WorkerState.DRAINING)
SICK = beat(state=WorkerState.UNHEALTHY, reason="the storage is full")


@pytest.mark.parametrize(
    ("beats", "message"),
    [
        (None, "Redis does not answer; jobs are kept, and start when it is back"),
        (
            [],
            f"no worker is connected; {START_ONE}",
        ),
        (
            [DRAINING],
            f"the only worker is draining and takes no more jobs; {START_ONE}",
        ),
        (
            [DRAINING] * 2,
            f"every worker is draining and takes no more jobs; {START_ONE}",
        ),
        ([SICK], "no worker takes jobs for now: the storage is full"),
        ([DRAINING, SICK], "no worker takes jobs for now: the storage is full"),
        ([beat(state=WorkerState.UNHEALTHY)], "no worker takes jobs for now"),
        ([SICK, IDLE], None),
        ([DRAINING, IDLE], None),
        ([beat(state=WorkerState.STARTING)], None),
    ],
)
def test_why_no_job_can_start(beats, message):
    assert message_of(beats) == message
    assert workers_to_json(beats, now=NOW)["message"] == message


def test_a_busy_worker():
    job = WorkerJob(job_id="j", attempt=2, step=3, steps=20, since=NOW)
    shown = worker_to_json(
        beat(state=WorkerState.BUSY, job=job, memory_total_bytes=10, memory_used_bytes=4, job_memory_bytes=7),
        now=NOW + timedelta(seconds=2.34),
    )
    assert shown["job"].items() >= {"id": "j", "attempt": 2, "step": 3, "url": "/api/v1/jobs/j"}.items()
    assert shown["memory"] == {"total_bytes": 10, "used_bytes": 4, "job_bytes": 7}
    assert shown["heartbeat_age_seconds"] == 2.3
    assert shown["urls"] == {"drain": "/api/v1/workers/gpu%20a/drain"}


def test_the_labels_of_a_worker_and_of_an_older_one():
    assert worker_to_json(beat(labels={"zone": "a"}), now=NOW)["labels"] == {"zone": "a"}
    assert worker_to_json(beat(), now=NOW)["labels"] == {}


def test_a_draining_worker_cannot_be_drained_and_a_fast_clock_makes_no_negative_age():
    shown = worker_to_json(DRAINING, now=NOW - timedelta(seconds=5))
    assert shown["urls"] == {"drain": None}
    assert shown["heartbeat_age_seconds"] == 0


@pytest.mark.parametrize(
    ("counts", "beats", "run_seconds", "backlog"),
    [
        (QueueCounts(), [IDLE], [], 0.0),  # a worker is free: nothing need be measured for that
        (QueueCounts(depth=1, running=1), [IDLE], [10.0, 20.0], 22.5),
        (QueueCounts(depth=3, running=2), [IDLE, IDLE, DRAINING], [10.0], 17.5),
        (QueueCounts(depth=1, running=1, followers=50), [IDLE], [10.0], 15.0),
        (QueueCounts(depth=1, running=1), [IDLE], [], None),
        (QueueCounts(depth=1), [DRAINING], [10.0], None),
        (QueueCounts(depth=1), None, [10.0], None),
    ],
)
def test_the_backlog_is_the_wait_of_a_job_handed_in_now(counts, beats, run_seconds, backlog):
    assert queue_to_json(counts, beats, run_seconds, now=NOW)["backlog_seconds"] == backlog


def test_the_queue_without_redis_keeps_its_counts():
    counts = QueueCounts(depth=2, followers=1, running=3, paused=4, oldest=NOW - timedelta(seconds=61))
    assert queue_to_json(counts, None, [], now=NOW) == {
        "depth": 2,
        "waiting_for_others": 1,
        "running": 3,
        "paused": 4,
        "oldest_age_seconds": 61.0,
        "backlog_seconds": None,
        "backlog_low_seconds": None,
        "backlog_high_seconds": None,
        "told_waits": 0,
        "told_waits_kept": None,
        "workers": None,
        "message": "Redis does not answer; jobs are kept, and start when it is back",
    }


@pytest.mark.parametrize(
    ("changes", "age"),
    [
        ({"age_seconds": 12.34, "at": NOW + timedelta(minutes=5)}, 12.3),
        ({"at": NOW - timedelta(seconds=7)}, 7.0),
        ({"at": NOW + timedelta(minutes=5)}, 0.0),
    ],
)
def test_the_age_is_that_by_the_clock_of_redis_if_it_is_known(changes, age):
    assert worker_to_json(beat(**changes), now=NOW)["heartbeat_age_seconds"] == age

"""What becomes of an attempt below the fence, and how much of the queue lies in the broker."""

from __future__ import annotations

import pytest

from shared.clock import utc_now
from shared.redis.control import ControlBeat, control_fault
from shared.redis.workers import WorkerBeat
from shared.status import DEFAULT_PRIORITY
from web.control.stale import Stale, decide_stale
from web.jobs.estimates import no_start_reason
from web.jobs.routing import is_handed_back, priority_of, queue_rank, window_size


@pytest.mark.parametrize(
    ("attempt", "fence", "result", "expected"),
    [
        (1, None, None, None),
        (1, None, 1, None),
        (2, 1, None, None),
        (2, 2, None, None),
        (1, 2, None, Stale(next_attempt=3)),
        (1, 2, 1, Stale(succeeds_as=1)),
        (1, 9, 7, Stale(succeeds_as=7)),
        (3, 1000, None, Stale(next_attempt=1001)),
    ],
)
def test_an_attempt_below_the_fence(
    attempt: int, fence: int | None, result: int | None, expected: Stale | None
):
    decision = decide_stale(attempt, fence=fence, result_attempt=result)
    assert decision == expected
    if decision and decision.next_attempt:
        assert decide_stale(decision.next_attempt, fence=fence, result_attempt=None) is None


@pytest.mark.parametrize(("workers", "size"), [(0, 16), (1, 16), (4, 16), (5, 20), (60, 240), (10_000, 2000)])
def test_the_window_is_for_every_node(workers: int, size: int):
    assert window_size(workers, jobs_each=4) == size


def test_ranks_are_in_the_order_of_the_queue():
    ranks = [
        queue_rank(priority, is_handed_back=handed_back)
        for handed_back in (True, False)
        for priority in (100, 5, 0, -5)
    ]
    assert ranks == sorted(ranks)
    assert [is_handed_back(rank) for rank in ranks] == [True] * 4 + [False] * 4
    assert queue_rank(DEFAULT_PRIORITY) == 0, "what rows have that are older than ranks"
    assert [priority_of(queue_rank(priority)) for priority in range(10)] == list(range(10))


def beat(**facts: object) -> ControlBeat:
    return ControlBeat.model_validate({"started_at": utc_now(), "at": utc_now(), **facts})


def test_what_is_wrong_with_control():
    assert control_fault(beat()) is None
    assert control_fault(beat(part="reports", part_seconds=19)) is None
    down = control_fault(None)
    assert down is not None
    assert "atelier control" in down
    stuck = control_fault(beat(part="prune", part_seconds=80))
    assert stuck is not None
    assert "'prune' for 80 s" in stuck
    failing = control_fault(beat(faults={"dispatch": "Redis does not answer.", "prune": "x"}))
    assert failing == "control fails at 'dispatch': Redis does not answer."
    assert control_fault(beat(faults={"prune": "x"})) is not None
    assert control_fault(beat(faults={"prune": "x"}), keeps_jobs_waiting=True) is None


def test_why_no_job_starts_names_what_to_do_first():
    now = utc_now()
    idle = WorkerBeat(
        worker_id="gpu-a", device="cpu", weights="untrained", protocol=1, started_at=now, at=now
    )
    assert "Redis" in (no_start_reason(None, control_fault="control is down") or "")
    assert no_start_reason([], control_fault="control is down") == "control is down"
    assert no_start_reason([idle], control_fault="control is down") == "control is down"
    assert no_start_reason([idle]) is None

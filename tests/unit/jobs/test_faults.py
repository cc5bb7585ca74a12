"""When a job that a node handed back fails after all."""

from __future__ import annotations

from shared.errors import ArtifactMissing, EngineFailed, OutOfMemory, WorkerCrashLoop
from web.jobs.faults import (
    NodeFault,
    decide_fault,
    earlier_faults,
    read_fault,
    with_fault,
    without_faults,
)


def fault(worker: str = "node-a", code: str = "engine_failed") -> NodeFault:
    kinds = {"artifact_missing": ArtifactMissing, "out_of_memory": OutOfMemory}
    kinds["worker_crash_loop"] = WorkerCrashLoop
    error = kinds.get(code, EngineFailed)("it broke").to_json()
    found = read_fault({"step": 3, "fault": {**error, "worker": worker, "later": "field"}})
    assert found is not None
    return found


def told(*faults: NodeFault) -> list[dict[str, str]]:
    metrics: dict[str, object] = {}
    for one in faults:
        metrics = with_fault(metrics, one)
    return earlier_faults(metrics)


def test_the_first_fault_is_the_nodes():
    assert decide_fault(fault(), [], has_others=True) is None
    assert decide_fault(fault(), [], has_others=False) is None


def test_a_second_node_that_fails_in_the_same_way_decides():
    error = decide_fault(fault("node-b"), told(fault("node-a")), has_others=True)
    assert error is not None
    assert (error["code"], error["retryable"]) == ("engine_failed", True)
    assert error["detail"] == "it broke; the same at node-a and node-b"
    assert decide_fault(fault("node-b"), told(fault("node-a", "artifact_missing")), has_others=True) is None


def test_one_node_alone_decides_nothing_while_another_could_take_the_job():
    earlier = told(*[fault()] * 9)
    assert decide_fault(fault(), earlier, has_others=True) is None


def test_the_only_node_tries_three_times():
    assert decide_fault(fault(), told(fault()), has_others=False) is None
    error = decide_fault(fault(), told(fault(), fault()), has_others=False)
    assert error is not None
    assert error["detail"] == "it broke; 3 times at node-a, and no other worker takes jobs"


def test_a_process_that_was_lost_again_and_again_is_told_once():
    crash = fault(code="worker_crash_loop")
    assert decide_fault(crash, [], has_others=True) is None
    error = decide_fault(crash, [], has_others=False)
    assert error is not None
    assert error["detail"] == "it broke; at node-a, and no other worker takes jobs"


def test_too_little_memory_is_not_tried_for_ever_while_the_others_are_busy():
    full = fault(code="out_of_memory")
    assert decide_fault(full, told(full), has_others=True) is None
    error = decide_fault(full, told(full, full), has_others=True)
    assert error is not None
    assert error["detail"] == "it broke; 3 times at node-a"


def test_what_control_sees_itself_decides_at_once():
    error = decide_fault(fault(code="artifact_missing"), [], has_others=True, damage="assets/x is not there")
    assert error is not None
    assert (error["code"], error["detail"]) == ("artifact_missing", "it broke (assets/x is not there)")


def test_what_a_row_remembers():
    metrics = {"run_seconds": 2.0}
    for number in range(20):
        metrics = with_fault(metrics, fault(f"node-{number}"))
    assert [one["worker"] for one in earlier_faults(metrics)] == [f"node-{n}" for n in range(10, 20)]
    assert without_faults(metrics) == {"run_seconds": 2.0}


def test_what_cannot_be_read_is_passed_over():
    assert read_fault({"step": 3}) is None
    assert read_fault({"fault": "engine_failed"}) is None
    odd = read_fault({"fault": {}})
    assert odd is not None
    assert odd.error["code"] == "engine_failed"
    for metrics in (
        None,
        [],
        {"faults": 3},
        {"faults": [None, {}, {"worker": "a"}, {"worker": [], "code": 7}]},
    ):
        assert earlier_faults(metrics) == []

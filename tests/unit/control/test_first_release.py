"""What control decides for nodes of the first release."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, WorkerEvent
from shared.redis.workers import WorkerBeat, WorkerState
from web.control.first_release import count_hungry, is_for_first_release, is_of_first_release, judge_report
from web.jobs.faults import read_fault

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def beat(name: str, state: WorkerState, protocol: int = 1) -> WorkerBeat:
    return WorkerBeat(
        worker_id=name, device="cpu", weights="w", state=state, protocol=protocol, started_at=NOW, at=NOW
    )


def test_each_idle_node_lacks_a_message():
    nodes = [
        beat("idle", WorkerState.IDLE),
        beat("busy", WorkerState.BUSY),
        beat("starting", WorkerState.STARTING),
        beat("unmounted", WorkerState.UNHEALTHY, protocol=2),
        beat("failed", WorkerState.IDLE),
        beat("another", WorkerState.IDLE),
    ]
    assert count_hungry(nodes, waiting=0, shunned=frozenset({"failed"})) == 2
    assert count_hungry(nodes, waiting=1, shunned=frozenset({"failed"})) == 1
    assert count_hungry(nodes, waiting=7, shunned=frozenset()) == 0
    assert not is_of_first_release(nodes[3])


def report(kind: EventType, **data: Any) -> WorkerEvent:
    return WorkerEvent(event_id="j:1:x", type=kind, job_id="j", attempt=1, at=NOW, data=data)


@pytest.mark.parametrize("code", ["artifact_missing", "engine_failed", "worker_crash_loop"])
def test_a_failure_that_may_be_the_nodes_own_hands_the_job_back(code: str):
    judged = judge_report(report(EventType.FAILED, error={"code": code}), worker_id="node-a")
    assert judged.type is EventType.RELEASED
    fault = read_fault(judged.data)
    assert fault is not None
    assert (fault.worker, fault.code) == ("node-a", code)
    assert judged.event_id != "j:1:x"


@pytest.mark.parametrize(
    "told",
    [
        report(EventType.FAILED, error={"code": "loss_not_finite"}),
        report(EventType.FAILED, error="no object"),
        report(EventType.FAILED),
        report(EventType.SUCCEEDED, step=3),
    ],
)
def test_other_reports_stay_what_they_are(told: WorkerEvent):
    assert judge_report(told) is told


def envelope(message: dict[str, Any]) -> str:
    body = json.dumps([[], {"message": message}, {}])
    return json.dumps({"body": base64.b64encode(body.encode()).decode(), "headers": {"id": "j:1"}})


def test_what_an_old_node_can_read():
    picture = InputPicture(key="k", sha256="s")
    sent = JobMessage(job_id="j", attempt=1, content=picture, style=picture, options=StyleOptions()).to_json()
    assert is_for_first_release(envelope(sent))
    assert not is_for_first_release(envelope(sent | {"least_protocol": 3}))
    assert not is_for_first_release(envelope(sent | {"options": {**sent["options"], "grain": 1}}))
    for junk in ("", "{}", "[]", "no json", '{"body": 3}', '{"body": "AAAA"}'):
        assert not is_for_first_release(junk)

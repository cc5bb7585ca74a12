"""When a node says something of itself."""

from __future__ import annotations

from datetime import timedelta

from shared.clock import utc_now
from shared.redis.workers import WorkerBeat, WorkerState
from worker.heartbeat import is_due

NOW = utc_now()
BEAT = WorkerBeat(worker_id="a", device="cpu", weights="untrained", started_at=NOW, at=NOW)


def later(**changes: object) -> WorkerBeat:
    return BEAT.model_copy(update={"at": NOW + timedelta(seconds=1), **changes})


def test_the_first_beat_is_due_at_once():
    assert is_due(BEAT, None, seconds_since=0)


def test_a_change_is_said_at_once_and_the_same_again_after_5_seconds():
    assert not is_due(later(), BEAT, seconds_since=4.9)
    assert is_due(later(), BEAT, seconds_since=5)
    assert is_due(later(state=WorkerState.BUSY), BEAT, seconds_since=0.1)
    assert is_due(later(memory_used_bytes=1), BEAT, seconds_since=0.1)

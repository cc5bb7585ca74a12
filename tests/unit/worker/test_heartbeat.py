"""When a node says something of itself."""

from __future__ import annotations

from datetime import timedelta

from shared.clock import utc_now
from shared.redis.workers import WorkerBeat, WorkerState
from worker.heartbeat import NameDecision, decide_name, is_due, shown_state
from worker.node_state import ChildNote

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


OTHER = BEAT.model_copy(update={"run": "other", "stamp": "1"})


def decide(other: WorkerBeat = OTHER, **facts: object) -> NameDecision:
    return decide_name(other, OTHER, **{"seconds": 1, "is_named": False, "is_gone": False, **facts})


def test_another_run_that_beats_has_the_name():
    assert decide() is NameDecision.WAIT
    assert decide(OTHER.model_copy(update={"stamp": "2"})) is NameDecision.GIVE_UP


def test_another_run_that_is_silent_or_dead_loses_the_name():
    assert decide(seconds=12) is NameDecision.TAKE
    assert decide(is_gone=True) is NameDecision.TAKE


def test_a_run_that_lost_its_name_while_it_was_suspended_gives_up():
    assert decide(is_named=True) is NameDecision.GIVE_UP


def test_a_node_of_an_older_release_knows_no_runs():
    old = BEAT.model_copy(update={"at": NOW})
    first = {"seconds": 1, "is_gone": False}
    assert decide_name(old, old, **first, is_named=False) is NameDecision.WAIT
    assert decide_name(later(), old, **first, is_named=False) is NameDecision.GIVE_UP
    assert decide_name(old, old, **first, is_named=True) is NameDecision.TAKE


def test_a_node_that_takes_nothing_is_unhealthy_unless_it_has_a_job_or_ends():
    idle = ChildNote(state=WorkerState.IDLE)
    assert shown_state(idle, is_draining=False, reason=None) is WorkerState.IDLE
    assert shown_state(idle, is_draining=False, reason="x") is WorkerState.UNHEALTHY
    assert shown_state(idle, is_draining=True, reason="x") is WorkerState.DRAINING

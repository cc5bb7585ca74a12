"""What parent and child of a node tell each other."""

from __future__ import annotations

import multiprocessing
from time import monotonic

import pytest

from shared.clock import utc_now
from shared.options import StyleOptions
from shared.protocol import InputPicture, JobMessage
from shared.redis.workers import WorkerState
from worker.node_state import ChildNote, NodeState

PICTURE = InputPicture(key="assets/aa/aa", sha256="aa")
MESSAGE = JobMessage(job_id="j", attempt=2, content=PICTURE, style=PICTURE, options=StyleOptions(steps=20))


def test_a_child_tells_its_parent_what_it_does():
    node_state = NodeState()
    assert node_state.read() == ChildNote(state=WorkerState.STARTING)
    fork = multiprocessing.get_context("fork")
    told, go_on = fork.Event(), fork.Event()

    def child() -> None:
        node_state.be_ready("never trained")
        with node_state.busy_with(MESSAGE, now=utc_now()):
            node_state.stepped(7)
            told.set()
            assert go_on.wait(20)
            assert node_state.is_draining

    process = fork.Process(target=child)
    process.start()
    assert told.wait(20)
    note = node_state.read()
    assert (note.state, note.notice) == (WorkerState.BUSY, "never trained")
    assert (note.job.job_id, note.job.attempt, note.job.step, note.job.steps) == ("j", 2, 7, 20)
    node_state.drain()
    go_on.set()
    process.join(20)
    assert process.exitcode == 0
    assert node_state.read() == ChildNote(state=WorkerState.IDLE, notice="never trained")


def test_after_a_killed_child_the_next_one_begins_anew():
    node_state = NodeState()
    node_state.be_ready("a notice")
    with pytest.raises(KeyboardInterrupt), node_state.busy_with(MESSAGE, now=utc_now()):
        raise KeyboardInterrupt
    assert node_state.read().job is None
    node_state.begin()
    assert node_state.read() == ChildNote(state=WorkerState.STARTING)


def test_a_text_that_is_half_written_is_not_read():
    node_state = NodeState()
    node_state.be_ready(None)
    before = node_state.read()
    node_state._text[20] = b"?"
    assert node_state.read() == before


def test_a_long_notice_fits():
    node_state = NodeState()
    node_state.be_ready("ü" * 100_000)
    assert node_state.read().notice == "ü" * 1000


def test_a_refusal_ends_by_itself_and_is_not_the_next_childs():
    node_state = NodeState()
    node_state.be_ready(None)
    node_state.rest("Redis is full", seconds=3600)
    assert node_state.read().why_idle(monotonic()) == "Redis is full"
    assert node_state.read().why_idle(monotonic() + 3601) is None
    node_state.be_unhealthy("no storage")
    assert node_state.read().why_idle(monotonic()) == "no storage"
    node_state.begin()
    assert node_state.read().why_idle(monotonic()) == "no storage"
    node_state.be_healthy()
    assert node_state.read().why_idle(monotonic()) is None


def test_loads_are_counted_until_the_engine_is_ready():
    node_state = NodeState()
    node_state.begin()
    node_state.begin()
    assert node_state.loads == 2
    node_state.be_ready(None)
    assert node_state.loads == 0


def test_a_child_has_not_seen_its_storage_before_it_has_looked():
    node_state = NodeState()
    assert node_state.sight_age_seconds is None
    node_state.see_storage()
    assert node_state.sight_age_seconds >= 0
    node_state.begin()
    assert node_state.sight_age_seconds is None


def test_the_longest_reason_and_notice_fit():
    node_state = NodeState()
    node_state.be_ready("😀" * 100_000)
    node_state.be_unhealthy("😀" * 100_000)
    node_state.rest("😀" * 100_000, seconds=1)
    assert node_state.read().unhealthy == "😀" * 1000

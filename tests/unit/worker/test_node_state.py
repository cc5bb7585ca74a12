"""What parent and child of a node tell each other."""

from __future__ import annotations

import multiprocessing

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

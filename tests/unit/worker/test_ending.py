"""With which code a node ends."""

from __future__ import annotations

from worker.ending import FAILED, NAME_TAKEN, Ending
from worker.node_state import NodeState


def ending() -> Ending:
    return Ending(NodeState())


def test_a_node_that_ends_for_no_known_reason_has_failed():
    assert (ending().code, ending().is_asked) == (FAILED, False)


def test_a_node_that_was_asked_to_ends_with_0_whatever_comes_after():
    asked = ending()
    asked.ask()
    asked.fix(NAME_TAKEN)
    assert (asked.code, asked.is_asked) == (0, True)


def test_a_node_that_has_to_end_fails_although_it_then_asks_itself_to():
    fixed = ending()
    fixed.fix(NAME_TAKEN)
    fixed.ask()
    assert (fixed.code, fixed.is_asked) == (NAME_TAKEN, True)


def test_a_wait_ends_when_the_node_is_to_end():
    asked = ending()
    asked.ask()
    asked.wait(3600)

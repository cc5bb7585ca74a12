"""With which code a node ends."""

from __future__ import annotations

import pytest

from shared.clock import from_rfc3339, utc_now
from shared.redis.workers import WorkerBeat
from worker.ending import FAILED, NAME_TAKEN, Ending, decide_haste, describe_rival
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


@pytest.mark.parametrize(
    ("is_hurried", "draining_seconds", "why"),
    [
        (False, 0, None),
        (False, 59.9, None),
        (False, 60, "it has not ended within 60 s (ATELIER_DRAIN_SECONDS)"),
        (True, 0, "it was asked to end a second time"),
    ],
)
def test_what_drains_is_ended_at_a_second_signal_or_when_its_time_is_over(is_hurried, draining_seconds, why):
    said = decide_haste(is_hurried=is_hurried, draining_seconds=draining_seconds, drain_seconds=60)
    assert said == why


@pytest.mark.parametrize(
    ("process", "host", "where"),
    [
        ("boot-1 pid:[1] 7 9", "gpu-a", "on gpu-a,"),
        ("", "gpu-a", "on gpu-a,"),  # an older release
        ("boot-2 pid:[1] 7 9", "gpu-a", "on another machine that is called gpu-a as well,"),
        ("boot-2 pid:[1] 7 9", "gpu-b", "on another machine, gpu-b,"),
        ("", "", "on some host,"),
    ],
)
def test_who_has_the_name_is_said_and_what_to_do(process, host, where):
    since = from_rfc3339("2026-11-27T10:00:00Z")
    rival = WorkerBeat(
        worker_id="n", host=host, device="cpu", weights="w", started_at=since, at=utc_now(), process=process
    )
    said = describe_rival("n", rival, host="gpu-a", process="boot-1 pid:[1] 3 4")
    assert said.startswith(f"A worker named 'n' is running already, {where} since 2026-11-27T10:00:00")
    assert said.endswith("Names must be unique: give this one another with --name.")

"""What begins with a checkpoint of another job, or goes on after its end, ends in the same bytes twice."""

from __future__ import annotations

import hashlib

import pytest

from shared.protocol import JobMessage, Origin
from shared.storage import layout
from tests.integration.worker.exact.nodes import STEPS, Nodes
from worker.runner import Outcome

pytestmark = pytest.mark.slow


def forked(nodes: Nodes, name: str, *, at: int, **options: float) -> JobMessage:
    """Return a job that begins with a step of the one that was run first."""
    key = layout.checkpoint_key("job", 1, at)
    origin = Origin(key=key, sha256=hashlib.sha256(nodes.context.store.read(key)).hexdigest(), step=at)
    changed = nodes.message.options.model_copy(update=options)
    return nodes.message.model_copy(update={"job_id": name, "origin": origin, "options": changed})


def test_forked_twice(nodes: Nodes):
    alone = nodes.alone()
    nodes.run(nodes.message)
    results = set()
    for name in ("fork-a", "fork-b"):
        fork = forked(nodes, name, at=4, style_weight=0.5)
        assert nodes.run(fork) == (Outcome.ENDED, list(range(5, STEPS + 1)))
        results.add(nodes.result(fork))
    assert len(results) == 1
    assert alone not in results


def test_a_fork_without_a_change_ends_as_its_origin(nodes: Nodes):
    nodes.run(nodes.message)
    fork = forked(nodes, "fork", at=8)
    nodes.run(fork)
    assert nodes.result(fork) == nodes.alone()


def test_a_fork_that_is_killed_goes_on_from_its_own_checkpoint(nodes: Nodes):
    nodes.run(nodes.message)
    whole, cut = (forked(nodes, name, at=4, style_weight=0.5) for name in ("whole", "cut"))
    nodes.run(whole)
    nodes.kill(cut, 9)
    again = cut.model_copy(update={"attempt": 2})
    assert nodes.run(again) == (Outcome.ENDED, list(range(9, STEPS + 1)))
    assert nodes.result(again) == nodes.result(whole)


def test_extended_twice(nodes: Nodes):
    nodes.run(nodes.message)
    results = []
    for name in ("longer-a", "longer-b"):
        longer = forked(nodes, name, at=STEPS, steps=STEPS + 4)
        assert nodes.run(longer) == (Outcome.ENDED, list(range(STEPS + 1, STEPS + 5)))
        results.append(nodes.result(longer))
    assert results[0] == results[1]
    assert results[0] != nodes.alone()


def test_an_extended_job_that_is_killed(nodes: Nodes):
    nodes.run(nodes.message)
    whole, cut = (forked(nodes, name, at=STEPS, steps=STEPS + 6) for name in ("whole", "cut"))
    nodes.run(whole)
    nodes.kill(cut, STEPS + 5)
    again = cut.model_copy(update={"attempt": 2})
    assert nodes.run(again) == (Outcome.ENDED, [STEPS + 5, STEPS + 6])
    assert nodes.result(again) == nodes.result(whole)

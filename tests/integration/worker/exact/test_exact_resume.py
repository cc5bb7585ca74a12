"""A job that was interrupted ends in the same bytes as one that was not: the real engine, both methods."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.options import PRESETS
from shared.protocol import EventType
from shared.redis.live import Flag
from shared.settings import Settings
from shared.storage import layout
from tests.integration.worker.exact.nodes import CHECKPOINT_EVERY, STEPS, Nodes
from worker.runner import Outcome

ROOT = Path(__file__).parents[4]
#: Before the first checkpoint, on it, just after it, just before the next, on that, one before the end.
CUTS = [1, 4, 5, 7, 8, 11]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("cut", CUTS)
def test_killed_and_resumed_at_another_node(nodes: Nodes, cut: int):
    alone = nodes.alone()
    nodes.kill(nodes.message, cut)
    known = cut // CHECKPOINT_EVERY * CHECKPOINT_EVERY
    outcome, steps = nodes.run(nodes.attempt(2))
    assert (outcome, steps) == (Outcome.ENDED, list(range(known + 1, STEPS + 1)))
    assert nodes.resumed_from() == (known or None)
    assert cut - known < CHECKPOINT_EVERY, "no more than checkpoint_every steps are computed twice"
    assert nodes.result(nodes.attempt(2)) == alone


@pytest.mark.parametrize("init", ["fast"])
@pytest.mark.parametrize("cut", [1, 5])
def test_one_that_starts_from_a_fast_picture_is_resumed_too(nodes: Nodes, cut: int):
    from_content = nodes.message.model_copy(update={"job_id": "content"})
    options = from_content.options.model_copy(update={"init": "content"})
    assert nodes.run(from_content.model_copy(update={"options": options}))[0] is Outcome.ENDED
    alone = nodes.alone()
    assert alone != nodes.result(from_content)
    nodes.kill(nodes.message, cut)
    assert nodes.run(nodes.attempt(2))[0] is Outcome.ENDED
    assert nodes.result(nodes.attempt(2)) == alone


def test_killed_and_resumed_in_a_fresh_process(nodes: Nodes, settings: Settings, untrained_cache: Path):
    alone = nodes.alone()
    nodes.kill(nodes.message, 6)
    task = {
        "settings": {"redis_url": settings.redis_url, "data_dir": str(settings.data_dir)},
        "cache_dir": str(untrained_cache),
        "attempts": [(nodes.method, nodes.attempt(2).model_dump(mode="json"))],
    }
    command = [sys.executable, "-m", "tests.integration.worker.exact.node"]
    done = subprocess.run(
        command, input=json.dumps(task), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert nodes.resumed_from() == 4
    assert nodes.result(nodes.attempt(2)) == alone


@pytest.mark.parametrize("step", [2, 4, 9])
def test_paused_and_resumed(nodes: Nodes, step: int):
    alone = nodes.alone()
    nodes.reported()

    def ask(made: int) -> None:
        # Redis is asked for the flag after the step that follows.
        if made == step - 1:
            nodes.context.redis.flags.raise_flag("job", 1, Flag.PAUSE)

    assert nodes.run(nodes.message, ask) == (Outcome.ENDED, list(range(1, step + 1)))
    last = nodes.reported()[-1]
    assert (last.type, last.data["step"]) == (EventType.PAUSED, step)
    assert nodes.run(nodes.attempt(2)) == (Outcome.ENDED, list(range(step + 1, STEPS + 1)))
    assert nodes.result(nodes.attempt(2)) == alone


@pytest.mark.parametrize("step", [1, 7])
def test_drained_and_taken_over(nodes: Nodes, step: int):
    alone = nodes.alone()
    assert nodes.run(nodes.message, drain_at=step) == (Outcome.RELEASED, list(range(1, step + 1)))
    assert nodes.run(nodes.message) == (Outcome.ENDED, list(range(step + 1, STEPS + 1)))
    assert nodes.result(nodes.message) == alone


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_resumed_although_the_newest_checkpoint_is_damaged(nodes: Nodes, damage: str):
    alone = nodes.alone()
    nodes.kill(nodes.message, 10)
    key = layout.checkpoint_key("job", 1, 8)
    data = bytearray(nodes.context.store.read(key))
    data[-5] ^= 4
    if damage == "missing":
        nodes.context.store.delete(key)
    else:
        nodes.context.store.write(key, bytes(data[:-7] if damage == "truncated" else data))
    nodes.run(nodes.attempt(2))
    assert nodes.resumed_from() == 4
    assert nodes.result(nodes.attempt(2)) == alone


def test_interrupted_twice_with_another_job_in_between(nodes: Nodes):
    alone = nodes.alone()
    nodes.kill(nodes.message, 5)
    options = nodes.message.options.model_copy(update={"size": 40, "steps": 2, "style_weight": 0.5})
    nodes.run(nodes.message.model_copy(update={"job_id": "other", "options": options}))
    nodes.kill(nodes.attempt(2), 9)
    assert nodes.run(nodes.attempt(3)) == (Outcome.ENDED, list(range(9, STEPS + 1)))
    assert nodes.result(nodes.attempt(3)) == alone


def test_killed_in_the_same_attempt_and_begun_again(nodes: Nodes):
    alone = nodes.alone()
    nodes.kill(nodes.message, 6)
    assert nodes.run(nodes.message) == (Outcome.ENDED, list(range(5, STEPS + 1)))
    assert nodes.result(nodes.message) == alone

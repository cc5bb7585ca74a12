"""The harness's judgement of what one attempt leaves to the next, on real attempts, with bugs and without."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.chaos import plants_writer
from tests.chaos.evidence import Evidence
from tests.chaos.oracle_handovers import find_breaches
from tests.chaos.pace import Pace
from tests.chaos.plants import PLANTS
from tests.chaos.scene import Injection
from tests.chaos.step_log import CountingEngine
from tests.support.bench import read
from tests.support.engines import SteadyEngine, nothing
from tests.support.real_engine import Killed
from web.control.dispatcher import message_for
from web.control.process import Control
from web.db.models import Job
from worker.context import WorkerContext
from worker.runner import Outcome, Runner
from worker.writer import Writer

DRAINED_AT = 8


class Nodes:
    """Nodes that work on one job, one after the other, and the evidence of it."""

    def __init__(self, control: Control, context: WorkerContext, job: Job, folder: Path) -> None:
        self._control = control
        self._context = context
        self._job = job
        self._folder = folder
        self._drain = False
        (folder / "steps").mkdir()

    def work(self, name: str, before_step: Callable[[int], None] = nothing) -> Outcome:
        """Let a node carry the job out, and control hear of it."""
        engine = CountingEngine(SteadyEngine(before_step), self._folder / "steps", node=name)
        runner = Runner(replace(self._context, worker_id=name), engine, draining=lambda: self._drain)
        try:
            return runner.run(message_for(read(self._control, self._job)))
        finally:
            self._drain = False
            self._control.projector.drain()

    def drain(self, step: int) -> None:
        """Ask the node that works to end, before a certain step of its."""
        self._drain = self._drain or step == DRAINED_AT

    def evidence(self) -> Evidence:
        """Return what is known when all is over."""
        evidence = Evidence(self._context.settings, Pace(), "sleeping", damaged=set())
        evidence.read(self._folder)
        return evidence


@pytest.fixture
def nodes(control: Control, context: WorkerContext, job: Job, tmp_path: Path) -> Nodes:
    return Nodes(control, context, job, tmp_path)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Plants a bug until the test is over, and returns the breach by which it is to be found."""

    def plant(name: str) -> str:
        for method in ("_keep_checkpoint", "_write", "wait", "__exit__"):
            monkeypatch.setattr(Writer, method, getattr(Writer, method))
        PLANTS[name].install()
        return PLANTS[name].breach

    return plant


def die(*_: object) -> None:
    raise Killed


def die_at(step: int) -> Callable[[int], None]:
    return lambda number: die() if number == step else None


def test_what_was_stored_and_told_is_gone_on_from(nodes: Nodes):
    assert nodes.work("a", nodes.drain) is Outcome.RELEASED
    with pytest.raises(Killed):
        nodes.work("b", die_at(13))
    assert nodes.work("c") is Outcome.ENDED
    evidence = nodes.evidence()
    (runs,) = evidence.runs.values()
    assert [(run.node, run.resumed_step, len(run.made)) for run in runs] == [
        ("a", 0, 8), ("b", 8, 4), ("c", 10, 10)
    ]  # fmt: skip
    assert find_breaches(evidence) == []


def tell_too_early(nodes: Nodes, plant: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Kill a node between its report of a checkpoint and the checkpoint."""
    breach = plant("tell-before-write")
    with monkeypatch.context() as patch:
        patch.setattr(plants_writer, "sleep", die)
        with pytest.raises(Killed):
            nodes.work("a")
    monkeypatch.setattr(plants_writer, "sleep", lambda _seconds: None)
    assert nodes.work("b") is Outcome.ENDED
    return breach


def lose_the_last(nodes: Nodes, plant: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Drain a node that throws away what it has in hand."""
    breach = plant("lose-the-last")
    monkeypatch.setattr(plants_writer, "_WRITE_SECONDS", 0.05)
    assert nodes.work("a", nodes.drain) is Outcome.RELEASED
    assert nodes.work("b") is Outcome.ENDED
    return breach


@pytest.mark.parametrize("go_wrong", [tell_too_early, lose_the_last])
def test_a_planted_bug_is_found(nodes: Nodes, plant, monkeypatch, settings: Settings, go_wrong):
    breach = go_wrong(nodes, plant, monkeypatch)
    evidence = nodes.evidence()
    (found,) = find_breaches(evidence)
    assert re.search(breach, found)
    (job_id,) = evidence.jobs
    damaged = replace(evidence, damaged={f"jobs/{job_id}/attempt-1/checkpoint-00005.safetensors"})
    assert find_breaches(damaged) == [], "what was damaged on purpose is no bug"
    other = replace(evidence, damaged={"jobs/other/attempt-1/checkpoint-00005.safetensors"})
    assert find_breaches(other) == [found]
    began_at = min(run.began_at for runs in evidence.runs.values() for run in runs)
    restored = replace(evidence, injections=[Injection("restore", began_at, began_at + 1, [])])
    assert find_breaches(restored) == [], "nothing is judged after a restore"

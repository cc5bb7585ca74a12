"""A worker's node as it is, but for an engine that writes down its steps."""

from __future__ import annotations

from pathlib import Path

from shared.options import Method
from shared.settings import Settings
from tests.chaos.commit_deaths import MortalEngine
from tests.chaos.failing_engine import FailingEngine, install_missing_inputs, switch_of
from tests.chaos.step_log import CountingEngine
from worker.arrival import first_beat
from worker.cli.run import await_names
from worker.devices import CPU
from worker.engine.runtime import native_messages_held
from worker.engine.weights.source import WeightsChoice
from worker.node import Node
from worker.runner import Engine


def make_engine(settings: Settings, kind: str, *, step_seconds: float) -> Engine:
    """Return the real engine, untrained, or the sleeping one; the first loads TensorFlow."""
    if kind == "sleeping":
        from tests.chaos.sleeping_engine import SleepingEngine

        return SleepingEngine(step_seconds)
    with native_messages_held():
        from worker.engine.engine import StyleEngine
        from worker.engine.weights.weights import load_weights

    return StyleEngine(load_weights(WeightsChoice("untrained"), settings.cache_dir))


def make_node(settings: Settings, name: str, kind: str, *, step_seconds: float, folder: Path) -> Node | None:
    """Return a node; its engine is made in its child. `folder` is the run's.

    None when it is told to end before it has seen its storage.
    """
    names = await_names(settings, first_beat(name, CPU, "untrained", [Method.GATYS]))
    if names is None:
        return None
    switch = switch_of(folder, name)
    install_missing_inputs(switch)

    def load_engine() -> Engine:
        engine = make_engine(settings, kind, step_seconds=step_seconds)
        counting = CountingEngine(engine, folder / "steps", node=name)
        return MortalEngine(FailingEngine(counting, switch), folder / "commit-deaths", node=name)

    return Node(
        settings,
        names,
        name=name,
        device=CPU,
        weights="untrained",
        methods=[Method.GATYS],
        load_engine=load_engine,
    )

"""A worker's node as it is, of one method, but for an engine that writes down its steps."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from shared.options import Method
from shared.settings import Settings
from tests.chaos.commit_deaths import MortalEngine
from tests.chaos.failing_engine import FailingEngine, install_missing_inputs, switch_of
from tests.chaos.step_log import CountingEngine
from worker.arrival import first_beat
from worker.cli.run import await_names
from worker.devices import CPU
from worker.engine.fast.source import find_fast_model
from worker.engine.runtime import native_messages_held
from worker.engine.weights.source import WeightsChoice
from worker.node import Node
from worker.runner import Engine
from worker.serving import NodeEngine, load_fast


def make_engine(settings: Settings, kind: str, methods: Collection[Method], *, step_seconds: float) -> Engine:
    """Return the real engines of these methods, untrained, or the sleeping ones."""
    engines: dict[Method, Engine] = {}
    if kind == "sleeping":
        from tests.chaos.sleeping_engine import SleepingEngine, SleepingPass

        makers = {Method.GATYS: SleepingEngine, Method.FAST: SleepingPass}
        engines = {method: makers[method](step_seconds) for method in methods}
        return NodeEngine(engines)
    if Method.FAST in methods:
        engines[Method.FAST] = load_fast(find_fast_model(settings))
    if Method.GATYS in methods:
        with native_messages_held():
            from worker.engine.engine import StyleEngine
            from worker.engine.weights.weights import load_weights

        engines[Method.GATYS] = engine = StyleEngine(
            load_weights(WeightsChoice("untrained"), settings.cache_dir)
        )
        engine.warm()
    return NodeEngine(engines)


def make_node(
    settings: Settings, name: str, kind: str, method: Method, *, step_seconds: float, folder: Path
) -> Node | None:
    """Return a node; its engine is made in its child. `folder` is the run's.

    None when it is told to end before it has seen its storage.
    """
    names = await_names(settings, first_beat(name, CPU, "untrained", [method]))
    if names is None:
        return None
    switch = switch_of(folder, name)
    install_missing_inputs(switch)

    def load_engine() -> Engine:
        engine = make_engine(settings, kind, [method], step_seconds=step_seconds)
        counting = CountingEngine(engine, folder / "steps", node=name)
        return MortalEngine(FailingEngine(counting, switch), folder / "commit-deaths", node=name)

    return Node(
        settings,
        names,
        name=name,
        device=CPU,
        weights="untrained",
        methods=[method],
        load_engine=load_engine,
        numerics={method.value: f"{kind} engine"},
    )

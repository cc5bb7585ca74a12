"""What a node loads before it says that it is ready: engines that have computed something already."""

from __future__ import annotations

from pathlib import Path

from shared.options import Method, StyleOptions
from shared.settings import Settings
from worker.devices import CPU
from worker.engine.engine import StyleEngine
from worker.serving import NodeEngine, prepare_engine


def test_a_loaded_engine_has_compiled_its_steps(untrained_cache: Path, scene, monkeypatch):
    made: list[StyleEngine] = []
    init = StyleEngine.__init__

    def watched(self: StyleEngine, *words, **names) -> None:
        init(self, *words, **names)
        made.append(self)

    monkeypatch.setattr(StyleEngine, "__init__", watched)
    settings = Settings(vgg19_weights="untrained", cache_dir=untrained_cache)
    engine = prepare_engine([Method.GATYS], settings, CPU).load()
    assert isinstance(engine, NodeEngine)
    assert [one.trace_count for one in made] == [1]
    options = StyleOptions(steps=2, size=64)
    assert len(list(engine.stylize(scene(seed=1), scene(seed=2), options))) == 2
    assert [one.trace_count for one in made] == [1]

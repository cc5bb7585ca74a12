"""What both the tests and a process of their own need: the real engine by method, and its interruptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from shared.options import StyleOptions
from shared.settings import Settings
from worker.engine.engine import StyleEngine
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import load_fast_model
from worker.engine.fast.source import find_fast_model
from worker.engine.state import EngineState, Step
from worker.engine.vgg19 import CONVOLUTIONS, kernel_shape
from worker.engine.weights.untrained import untrained_convolutions
from worker.engine.weights.weights import Weights

METHODS = ("classic", "untrained")


def load_fast_engine() -> FastEngine:
    """Return a fresh engine with the packaged fast model."""
    return FastEngine(load_fast_model(find_fast_model(Settings()), threads=1))


def load_engine(method: str, cache_dir: Path) -> StyleEngine:
    """Return a fresh engine: `classic` with random weights of a trained network's kind, or `untrained`.

    Both can start from what the packaged fast model makes.
    """
    fast = load_fast_engine()
    if method == "untrained":
        return StyleEngine(Weights.of(untrained_convolutions(cache_dir), name="untrained"), fast=fast)
    generator = np.random.default_rng(11)
    convolutions = {}
    for name, (channels_in, channels_out) in CONVOLUTIONS.items():
        kernel = generator.standard_normal(kernel_shape(name), np.float32) / np.sqrt(36 * channels_in)
        bias = generator.uniform(100, 200, channels_out)
        convolutions[name] = (kernel.astype(np.float32), bias.astype(np.float32))
    return StyleEngine(Weights.of(convolutions, name="file"), fast=fast)


class Watched:
    """The real engine, with something that happens after certain steps, before the next one is begun."""

    def __init__(self, engine: StyleEngine, after: Callable[[int], None] | None = None) -> None:
        self._engine = engine
        self._after = after or (lambda _step: None)
        self.notice, self.made_by = engine.notice, engine.made_by
        self.steps: list[int] = []
        self.step = 0

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        for step in self._engine.stylize(content, style, options, resume=resume):
            self.steps.append(step.step)
            self.step = step.step
            yield step
            self._after(step.step)


class Killed(BaseException):
    """The process is gone: nothing may catch this, and nothing after it is done."""


def killed_after(cut: int) -> Callable[[int], None]:
    """Return what kills the process once `cut` steps are made and dealt with."""

    def kill(step: int) -> None:
        if step == cut:
            raise Killed

    return kill

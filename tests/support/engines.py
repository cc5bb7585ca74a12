"""Engines for tests of what surrounds an engine; each is named by how it behaves."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator

import numpy as np

from shared.errors import LossNotFinite
from shared.options import StyleOptions
from shared.protocol import UNTRAINED
from worker.engine.state import EngineState, Losses, MadeBy, Step
from worker.runner import Engine

MADE_BY = MadeBy("test", "untrained", "0" * 64, UNTRAINED)


def nothing(_step: int) -> None:
    """Do nothing before a step."""


class Gate:
    """Holds an engine before its third step until it is opened, then never again."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.reached = threading.Event()

    def __call__(self, step: int) -> None:
        if step == 3:
            self.reached.set()
            assert self.opened.wait(20)


class EngineAround:
    """What is the same in every engine that has another one, `_engine`, in it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def notice(self) -> str | None:
        """That of the engine within."""
        return self._engine.notice

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return what the engine within says."""
        return self._engine.made_by(options)


class SteadyEngine:
    """Mixes its inputs into a few numbers, step by step: exact, resumable, and quick.

    `before_step` is called with the number of each step before it is made.
    """

    notice: str | None = "no weights at all"

    def __init__(self, before_step: Callable[[int], None] = nothing) -> None:
        self.before_step = before_step
        self.resumed_from: int | None = None
        self.steps_made = 0

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return the same for every job."""
        return MADE_BY

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        seed = int.from_bytes(hashlib.sha256(content + style).digest()[:4], "little")
        value = resume.arrays["value"] if resume else np.random.default_rng(seed).random(64, dtype=np.float32)
        self.resumed_from = resume.step if resume else None
        if resume and resume.step >= options.steps:
            yield self._record(options.steps, options.steps, value)
        for number in range((resume.step if resume else 0) + 1, options.steps + 1):
            self.before_step(number)
            value = np.float32(self.factor(options)) * value * (1 - value)
            self.steps_made += 1
            yield self._record(number, options.steps, value)

    def factor(self, options: StyleOptions) -> float:
        """What a step multiplies by; 3.57 to 4 keep the values moving."""
        return 3.7

    def _record(self, number: int, steps: int, value: np.ndarray) -> Step:
        def image() -> np.ndarray:
            return np.repeat((value * 255).astype(np.uint8).reshape(8, 8, 1), 3, axis=2)

        def state() -> EngineState:
            return EngineState(step=number, arrays={"value": value})

        return Step(number, steps, Losses(1.0, 0.5, 0.5), 0.001, image, state)


class WeighingEngine(SteadyEngine):
    """As steady, and with another result for another `style_weight` (0 to 1)."""

    def factor(self, options: StyleOptions) -> float:
        return 3.6 + 0.3 * options.style_weight


class OneStepEngine(SteadyEngine):
    """As the fast method: one step, without losses and without a state."""

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return another engine and network than the optimisation has."""
        return MadeBy("fast-test", "one pass", "1" * 64)

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        assert resume is None
        (step,) = super().stylize(content, style, options)
        yield Step(1, 1, None, step.seconds, step.image)


class RaisingEngine(SteadyEngine):
    """Fails at its third step with whatever it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__(self._raise)
        self._error = error

    def _raise(self, number: int) -> None:
        if number == 3:
            raise self._error


class DivergingEngine(RaisingEngine):
    """Its loss is no number from the third step on."""

    def __init__(self) -> None:
        super().__init__(LossNotFinite("the style loss is nan at step 3"))

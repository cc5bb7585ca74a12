"""An engine without TensorFlow: exact and resumable like the real one, and as slow as it is told to be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from time import sleep

import numpy as np

from shared.options import StyleOptions
from worker.engine.state import EngineState, Losses, MadeBy, Step


class SleepingEngine:
    """Mixes its inputs step by step, with a moment as Adam has it, and sleeps before each."""

    notice: str | None = None

    def __init__(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return what makes its pictures."""
        return MadeBy("sleeping", "untrained", "0" * 64)

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield one record a step; see `worker.engine.engine.StyleEngine`."""
        names = options.told_names - {"steps", "checkpoint_every"}
        words = content + style + options.model_dump_json(include=set(names)).encode()
        seed = int.from_bytes(hashlib.sha256(words).digest()[:4], "little")
        if resume:
            done, value, moment = resume.step, resume.arrays["value"], resume.arrays["moment"]
        else:
            done, value = 0, np.random.default_rng(seed).random(64, dtype=np.float32)
            moment = np.zeros(64, np.float32)
        if done >= options.steps:
            yield _record(options.steps, options.steps, value, moment)
        for number in range(done + 1, options.steps + 1):
            sleep(self._step_seconds)
            moment = np.float32(0.9) * moment + np.float32(0.1) * value
            value = np.float32(3.6) * value * (1 - value) + np.float32(0.09) * moment
            yield _record(number, options.steps, value, moment)


class SleepingPass:
    """In the place of the fast method's engine: one step, without losses and without a state."""

    notice: str | None = None

    def __init__(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return what makes its pictures."""
        return MadeBy("sleeping-pass", "one pass", "1" * 64)

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield the one step; see `worker.engine.fast.engine.FastEngine`."""
        assert resume is None
        sleep(self._step_seconds)
        words = content + style + options.model_dump_json(include=set(options.told_names)).encode()
        seed = int.from_bytes(hashlib.sha256(words).digest()[:4], "little")
        picture = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        yield Step(1, 1, None, self._step_seconds, lambda: picture)


def _record(number: int, steps: int, value: np.ndarray, moment: np.ndarray) -> Step:
    def image() -> np.ndarray:
        return np.repeat((value * 255).astype(np.uint8).reshape(8, 8, 1), 3, axis=2)

    def state() -> EngineState:
        return EngineState(step=number, arrays={"value": value, "moment": moment})

    return Step(number, steps, Losses(1.0, 0.5, 0.5), 0.001, image, state)

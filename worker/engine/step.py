"""The record that a running job yields after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worker.engine.state import EngineState


@dataclass(frozen=True)
class Losses:
    """The losses of one step, weighted, of the picture that the step started from."""

    total: float
    content: float
    style: float


@dataclass(frozen=True)
class Step:
    """One step that is done: `step` of `steps` (1 is the first), its losses, and its wall time in seconds.

    Holds on to the tensors of its own step, so `image` and `state` stay true after the job has moved on;
    keeping many steps keeps as many pictures in the device's memory.
    """

    step: int
    steps: int
    losses: Losses
    seconds: float
    _image: Callable[[], NDArray[np.uint8]] = field(repr=False, compare=False)
    _state: Callable[[], EngineState] = field(repr=False, compare=False)
    #: The most GPU memory that the job has needed until now, in bytes; None on a CPU.
    gpu_peak_bytes: int | None = None

    def image(self) -> NDArray[np.uint8]:
        """Return the picture as of this step, sRGB, shape [H, W, 3]; fetched from the device on each call."""
        return self._image()

    def state(self) -> EngineState:
        """Return what is needed to continue after this step; fetched from the device on each call."""
        return self._state()

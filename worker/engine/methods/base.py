"""The interface of a method of style transfer, and the choice of the one that fits a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.errors import EngineFailed
from shared.options import StyleOptions
from worker.engine.weights.weights import Weights

#: A picture in host memory: RGB float32 in [0, 1], shape [H, W, 3].
Picture = NDArray[np.float32]

#: Everything that changes from step to step, float32 tensors by name. `report` is always one of them: shape
#: [3], the content loss, the style loss, and a mean over the step's update, finite only if all of it is.
#: A state never changes: it may be read while the steps after it are computed. A method that keeps variables
#: which the next step assigns hands out copies of them.
State = dict[str, tf.Tensor]


class Optimisation(Protocol):
    """One pair of pictures under one method: holds the targets; the state is handed along, never kept."""

    def start(self) -> State:
        """Return the state before the first step."""

    def advance(self, state: State, step: int) -> State:
        """Return the state after one more step; `step` is that step's number, 1 at first."""

    def picture(self, state: State, step: int) -> tf.Tensor:
        """Return the result as of a state after `step` steps: float32 RGB in [0, 1], shape [1, H, W, 3]."""


class Method(Protocol):
    """A method with its weights on the device and its step compiled once for all pictures and options."""

    def __init__(self, weights: Weights) -> None:
        """Bring the weights to the device."""

    @staticmethod
    def fits(options: StyleOptions, weights: Weights) -> bool:
        """Whether a job with these options is this method's, on an engine with these weights."""

    def prepare(
        self, content: Picture, style: Picture, options: StyleOptions, *, start: Picture | None = None
    ) -> Optimisation:
        """Compute the targets of a pair of pictures; `start`, of the content's size, is where it begins."""

    def trace_count(self) -> int:
        """Return how many times the step has been traced in this process; more than 1 would be a leak."""


def choose_method(methods: Sequence[type[Method]], options: StyleOptions, weights: Weights) -> type[Method]:
    """Return the first of the methods that a job with these options is for.

    Raises:
        EngineFailed: when none of them can work with these options and weights.
    """
    for method in methods:
        if method.fits(options, weights):
            return method
    raise EngineFailed(f"no method works with these options and the weights '{weights.name}'")

"""Steps and states of a job, as the engine hands them out; numpy only, so that anyone may store them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.errors import CheckpointInvalid


@dataclass(frozen=True)
class EngineState:
    """A job after `step` steps: the image, the optimiser's moments, and what was fixed at its start.

    The arrays' names and shapes are the method's own; all are float32. Targets are not among them: they are
    computed again, to the same bits, from the same two pictures.
    """

    step: int
    arrays: dict[str, NDArray[np.float32]]

    def check(self, expected: Mapping[str, tuple[int, ...]]) -> None:
        """Check names, shapes, types and values against what the job expects.

        Raises:
            CheckpointInvalid: naming the first thing that does not fit.
        """
        if self.step < 1:
            raise CheckpointInvalid(f"the checkpoint says step {self.step}; it must be at least 1")
        if set(self.arrays) != set(expected):
            missing = ", ".join(sorted(set(expected) - set(self.arrays))) or "none"
            unknown = ", ".join(sorted(set(self.arrays) - set(expected))) or "none"
            raise CheckpointInvalid(
                f"the checkpoint lacks the arrays: {missing}; it has unknown ones: {unknown}"
            )
        for name, shape in expected.items():
            array = self.arrays[name]
            if array.shape != shape or array.dtype != np.float32:
                raise CheckpointInvalid(
                    f"the checkpoint's {name} is {array.dtype} {list(array.shape)}; "
                    f"this job has float32 {list(shape)}"
                )
            if not np.isfinite(array).all():
                raise CheckpointInvalid(f"the checkpoint's {name} holds values that are not finite")


@dataclass(frozen=True)
class MadeBy:
    """What makes a job's picture beside inputs and options: an engine's version, and a network's weights.

    The name of the weights stands wherever a result stands, their SHA-256 (hex) beside it; `mark` is what is
    to be said of them there in a few words, if anything is.
    """

    engine_version: str
    weights: str
    weights_sha256: str
    mark: str | None = None

    def facts(self) -> dict[str, str | None]:
        """Return what reports, rows and JSON say of the weights."""
        return {"name": self.weights, "sha256": self.weights_sha256, "notice": self.mark}


@dataclass(frozen=True)
class Losses:
    """The losses of one step, weighted, of the picture that the step started from."""

    total: float
    content: float
    style: float


@dataclass(frozen=True)
class Step:
    """One step that is done: `step` of `steps` (1 is the first), its losses, and its wall time in seconds.

    A method that optimises nothing has no losses (None), and no state to go on from.
    Holds on to the tensors of its own step, so `image` and `state` stay true after the job has moved on, and
    any thread may ask for them; keeping many steps keeps as many pictures in the device's memory.
    """

    step: int
    steps: int
    #: None of a method that has none; it has no state to continue from either.
    losses: Losses | None
    seconds: float
    _image: Callable[[], NDArray[np.uint8]] = field(repr=False, compare=False)
    _state: Callable[[], EngineState] | None = field(default=None, repr=False, compare=False)
    #: The most GPU memory that the job has needed until now, in bytes; None on a CPU.
    gpu_peak_bytes: int | None = None

    def image(self) -> NDArray[np.uint8]:
        """Return the picture as of this step, sRGB, shape [H, W, 3]; fetched from the device on each call."""
        return self._image()

    def losses_by_name(self) -> dict[str, float]:
        """Return the losses as reports, rows and markers have them: total, content, style; or none."""
        return {} if self.losses is None else asdict(self.losses)

    @property
    def has_state(self) -> bool:
        """Whether the job can be continued after this step."""
        return self._state is not None

    def state(self) -> EngineState:
        """Return what is needed to continue after this step; fetched from the device on each call.

        Raises:
            CheckpointInvalid: when the step has none.
        """
        if self._state is None:
            raise CheckpointInvalid("a job of this method has no state to go on from: it is one step")
        return self._state()

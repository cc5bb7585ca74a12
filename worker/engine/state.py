"""What is needed to continue a job exactly where it stood; numpy only, so that anyone may store it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

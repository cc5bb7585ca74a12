"""Adam (Kingma & Ba 2015, algorithm 1) as a function of its state: a compiled step owns no variables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Adam:
    """The constants of Adam; `epsilon` stands outside the root, in the units of the gradient."""

    beta1: float
    beta2: float
    epsilon: float

    def direction(
        self, gradient: tf.Tensor, first: tf.Tensor, second: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return m̂ / (√v̂ + ε) and both updated moments, all of the gradient's shape.

        Args:
            gradient: float32, any shape.
            first: First moment m before this step; zeros at first.
            second: Second moment v before this step; zeros at first.
            step: float32 scalar, 1 at the first step.
        """
        first = self.beta1 * first + (1 - self.beta1) * gradient
        second = self.beta2 * second + (1 - self.beta2) * tf.square(gradient)
        # Not Keras' form, which folds the corrections into the rate and so changes what ε means.
        # expm1, because 1 - β^t loses its digits at the first steps in float32.
        corrected_first = first / -tf.math.expm1(step * math.log(self.beta1))
        corrected_second = second / -tf.math.expm1(step * math.log(self.beta2))
        return corrected_first / (tf.sqrt(corrected_second) + self.epsilon), first, second

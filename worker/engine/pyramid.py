"""Pictures as a pyramid of five sizes, each half the one before, and the way back up.

Sides that do not divide by 2⁴ are extended at the bottom and right first, so that a level's cell always
stands over the same 2ˡ × 2ˡ pixels and no level is ever empty, down to pictures of 16 px.
"""

from __future__ import annotations

import itertools
from typing import Literal

import tensorflow as tf

LEVELS = 5
_GRID_PX = 2 ** (LEVELS - 1)


def pooled(image: tf.Tensor, *, extend: Literal["CONSTANT", "SYMMETRIC"]) -> list[tf.Tensor]:
    """Return [1, H, W, 3] averaged over 2ˡ × 2ˡ pixels, for each level l from 0.

    Level l has the shape [1, ⌈H/16⌉·16/2ˡ, ⌈W/16⌉·16/2ˡ, 3]; `extend` is how the sides are filled up to that
    (with zeros or by reflection, which needs H and W of at least 15).
    """
    shape = tf.shape(image)
    bottom, right = -shape[1] % _GRID_PX, -shape[2] % _GRID_PX
    level = tf.pad(image, [[0, 0], [0, bottom], [0, right], [0, 0]], mode=extend)
    levels = [level]
    for _ in range(LEVELS - 1):
        level = tf.nn.avg_pool2d(level, 2, 2, "VALID")
        levels.append(level)
    return levels


def enlarged(level: tf.Tensor, factor: int) -> tf.Tensor:
    """Return [1, h, w, 3] enlarged bilinearly by a whole factor: [1, h·factor, w·factor, 3]."""
    shape = tf.shape(level)
    return tf.image.resize(level, [shape[1] * factor, shape[2] * factor], method="bilinear")


def laplacian_bands(image: tf.Tensor) -> list[tf.Tensor]:
    """Return what each level holds beyond the next coarser one; the last level is the remaining average.

    Burt & Adelson 1983, with box averages in the place of their Gaussian.
    """
    levels = pooled(image, extend="SYMMETRIC")
    bands = [fine - enlarged(coarse, 2) for fine, coarse in itertools.pairwise(levels)]
    return [*bands, levels[-1]]

"""Colour statistics of pictures, and pyramids of five sizes, each half the one before: numpy and TensorFlow.

A pyramid's sides that do not divide by 2⁴ are extended at the bottom and right first, so that a level's cell
always stands over the same 2ˡ × 2ˡ pixels and no level is ever empty, down to pictures of 16 px.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

LEVELS = 5
_GRID_PX = 2 ** (LEVELS - 1)

Matrix = NDArray[np.float64]


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


def matched_colours(
    content: NDArray[np.float32], style: NDArray[np.float32], *, variance_floor: float
) -> NDArray[np.float32]:
    """Return the content with the style's mean colour and colour covariance, clipped to [0, 1].

    The linear Monge-Kantorovich map: of all linear maps that do this, the one that moves colours least
    (Pitié & Kokaram 2007). Both pictures are RGB in [0, 1], [H, W, 3].

    Args:
        content: The picture to recolour.
        style: The picture whose colours are taken; its size does not matter.
        variance_floor: Added to the variances of both, so that a nearly grey content is not torn apart.
    """
    floor = variance_floor * np.eye(3)
    content_mean, content_covariance = _mean_and_covariance(content)
    style_mean, style_covariance = _mean_and_covariance(style)
    root = _power(content_covariance + floor, 0.5)
    inverse_root = _power(content_covariance + floor, -0.5)
    middle = _power(root @ (style_covariance + floor) @ root, 0.5)
    moved = (content - content_mean) @ (inverse_root @ middle @ inverse_root) + style_mean
    return np.clip(moved, 0.0, 1.0).astype(np.float32)


def palette_root(band: NDArray[np.float32], *, variance_floor: float) -> NDArray[np.float32]:
    """Return the square root of (RGB covariance + `variance_floor`·I), [3, 3], of a band [H, W, 3]."""
    _, covariance = _mean_and_covariance(band)
    return _power(covariance + variance_floor * np.eye(3), 0.5).astype(np.float32)


def _mean_and_covariance(picture: NDArray[np.float32]) -> tuple[Matrix, Matrix]:
    points = picture.reshape(-1, 3).astype(np.float64)
    mean = points.mean(axis=0)
    return mean, (points - mean).T @ (points - mean) / len(points)


def _power(matrix: Matrix, exponent: float) -> Matrix:
    """Raise a symmetric positive definite matrix to a power."""
    values, vectors = np.linalg.eigh(matrix)
    raised: Matrix = (vectors * values**exponent) @ vectors.T
    return raised

"""A picture's colours as a cloud of points in RGB: its covariance, and moving it onto another. Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


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

"""The one synthetic picture on which the untrained network is calibrated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SEED = 7
_DISCS = 1200
_RADIUS_RANGE_PX = (3.0, 96.0)
_NOISE_DEVIATION = 0.08


def dead_leaves(size_px: int = 256) -> NDArray[np.float64]:
    """Return discs of random colours lying on each other, plus 1/f noise: RGB in [0, 1], [size, size, 3].

    The dead leaves model (Lee, Mumford & Huang 2001) has the edges, scales and spectrum of photographs
    without being one: radii follow p(r) ∝ r⁻³.
    """
    generator = np.random.default_rng(_SEED)
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.float64)
    picture = np.full((size_px, size_px, 3), 0.5)
    smallest, largest = _RADIUS_RANGE_PX
    for _ in range(_DISCS):
        row, column = generator.uniform(0, size_px, 2)
        radius = min(largest, smallest / np.sqrt(1.0 - generator.uniform()))
        covered = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        picture[covered] = generator.uniform(0, 1, 3)
    return np.clip(picture + _NOISE_DEVIATION * _pink_noise(generator, size_px), 0.0, 1.0)


def _pink_noise(generator: np.random.Generator, size_px: int) -> NDArray[np.float64]:
    """Return noise with an amplitude spectrum of 1/f, zero mean and unit deviation: [size, size, 3]."""
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, np.newaxis], np.fft.fftfreq(size_px)[np.newaxis])
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(generator.standard_normal((size_px, size_px, 3)), axes=(0, 1))
    noise = np.fft.ifft2(spectrum / frequency[..., np.newaxis], axes=(0, 1)).real
    unit: NDArray[np.float64] = noise / noise.std(axis=(0, 1))
    return unit

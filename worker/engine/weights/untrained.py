"""The untrained network: random weights, calibrated on one synthetic picture, and kept in a cache."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.engine.vgg19 import CONVOLUTIONS, Convolutions, follows_pooling, kernel_shape, layers_up_to

DEEPEST_LAYER = "block4_conv1"
#: Taken from RGB in [0, 1] before the first convolution: about the mean of photographs.
INPUT_OFFSET = 0.45

_RECIPE_VERSION = 1
_WEIGHTS_SEED = 1
_THRESHOLD_RANGE = (-2.0, 1.0)
_DEVIATION_FLOOR = 0.05

_PICTURE_SEED = 7
_DISCS = 1200
_RADIUS_RANGE_PX = (3.0, 96.0)
_NOISE_DEVIATION = 0.08

_Array = NDArray[np.float64]


def untrained_convolutions(
    cache_dir: Path, *, build: Callable[[], Convolutions] | None = None
) -> Convolutions:
    """Return kernel [3, 3, in, out] and bias [out] by layer, float32; built once, then kept in `cache_dir`.

    A damaged cache is built anew; a cache that cannot be written is done without. `build` makes what is not
    cached; default: `build_convolutions`.
    """
    path = cache_dir / f"vgg19-untrained-{_RECIPE_VERSION}.npz"
    cached = _read(path)
    if cached is not None:
        return cached
    built = (build or build_convolutions)()
    with contextlib.suppress(OSError):
        _write(path, built)
    return built


def build_convolutions() -> Convolutions:
    """Build the weights layer by layer, each calibrated on what those before it make of the same picture."""
    generator = np.random.default_rng(_WEIGHTS_SEED)
    activation = dead_leaves() - INPUT_OFFSET
    convolutions: Convolutions = {}
    for name in layers_up_to(DEEPEST_LAYER):
        if follows_pooling(name):
            activation = _max_pooled(activation)
        kernel = _directions(generator, *CONVOLUTIONS[name])
        threshold = generator.uniform(*_THRESHOLD_RANGE, CONVOLUTIONS[name][1])
        response = _convolved(activation, kernel)
        deviation = response.std(axis=(0, 1))
        bias = threshold - response.mean(axis=(0, 1)) / deviation
        activation = np.maximum(response / deviation + bias, 0.0)
        scale = activation.std(axis=(0, 1)) + _DEVIATION_FLOOR
        activation /= scale
        convolutions[name] = (_rounded(kernel / (deviation * scale)), _rounded(bias / scale))
    return convolutions


def _directions(generator: np.random.Generator, channels_in: int, channels_out: int) -> _Array:
    """Return a random kernel; its filters are orthonormal, or of unit length where they are too many."""
    matrix = generator.standard_normal((9 * channels_in, channels_out))
    if channels_out <= 9 * channels_in:
        # The signs make the factorisation unique, whichever library computes it.
        orthonormal, triangle = np.linalg.qr(matrix)
        matrix = orthonormal * np.sign(np.diag(triangle))
    else:
        matrix /= np.linalg.norm(matrix, axis=0)
    return matrix.reshape(3, 3, channels_in, channels_out)


def _convolved(activation: _Array, kernel: _Array) -> _Array:
    """Convolve [H, W, in] with [3, 3, in, out] under reflect padding: [H, W, out]."""
    height, width, channels_in = activation.shape
    padded = np.pad(activation, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    result = np.zeros((height * width, kernel.shape[-1]))
    for row in range(3):
        for column in range(3):
            window = padded[row : row + height, column : column + width].reshape(-1, channels_in)
            result += window @ kernel[row, column]
    return result.reshape(height, width, -1)


def _max_pooled(activation: _Array) -> _Array:
    height, width, channels = activation.shape
    cells: _Array = activation.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
    return cells


def _rounded(values: _Array) -> NDArray[np.float32]:
    # Half precision hides the last bits, in which linear algebra libraries differ: one digest everywhere.
    return values.astype(np.float16).astype(np.float32)


def dead_leaves(size_px: int = 256) -> NDArray[np.float64]:
    """Return discs of random colours lying on each other, plus 1/f noise: RGB in [0, 1], [size, size, 3].

    The dead leaves model (Lee, Mumford & Huang 2001) has the edges, scales and spectrum of photographs
    without being one: radii follow p(r) ∝ r⁻³.
    """
    generator = np.random.default_rng(_PICTURE_SEED)
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


def _read(path: Path) -> Convolutions | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {
                name: (arrays[f"{name}/kernel"].astype(np.float32), arrays[f"{name}/bias"].astype(np.float32))
                for name in layers_up_to(DEEPEST_LAYER)
            }
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
    shapes = {name: (kernel.shape, bias.shape) for name, (kernel, bias) in found.items()}
    fits = shapes == {name: (kernel_shape(name), kernel_shape(name)[-1:]) for name in found}
    return found if fits else None


def _write(path: Path, convolutions: Convolutions) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    arrays = {}
    for name, (kernel, bias) in convolutions.items():
        arrays[f"{name}/kernel"] = kernel.astype(np.float16)
        arrays[f"{name}/bias"] = bias.astype(np.float16)
    try:
        np.savez(temporary, allow_pickle=False, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

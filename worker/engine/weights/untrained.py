"""A VGG19 that was never trained, made the same on every machine, down to the deepest layer used.

Random filters carry style nearly as well as trained ones (He, Wang & Hopcroft 2016; Ustyuzhaninov et al.
2016) if every channel has something to say: each is orthonormal to its siblings, scaled on one synthetic
picture, and given its own random threshold.
"""

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
from worker.engine.weights.dead_leaves import dead_leaves

DEEPEST_LAYER = "block4_conv1"
#: Taken from RGB in [0, 1] before the first convolution: about the mean of photographs.
INPUT_OFFSET = 0.45

_RECIPE_VERSION = 1
_SEED = 1
_THRESHOLD_RANGE = (-2.0, 1.0)
_DEVIATION_FLOOR = 0.05

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
    generator = np.random.default_rng(_SEED)
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

"""Fixtures of the engine's tests: random weights in VGG19's shape, warm engines, pictures from arrays."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worker.engine.engine import StyleEngine
from worker.engine.vgg19 import CONVOLUTIONS, kernel_shape
from worker.engine.weights.untrained import untrained_convolutions
from worker.engine.weights.weights import Weights


@pytest.fixture(scope="session")
def random_weights() -> Weights:
    """Weights of VGG19's shape, with thresholds that most units pass, as in a trained network.

    Unbiased ones make a landscape so jagged that two runs differing in the last bit part within 20 steps.
    """
    generator = np.random.default_rng(11)
    convolutions = {}
    for name, (channels_in, channels_out) in CONVOLUTIONS.items():
        kernel = generator.standard_normal(kernel_shape(name)) * np.sqrt(0.25 / (9 * channels_in))
        bias = generator.uniform(100, 200, channels_out)
        convolutions[name] = (kernel.astype(np.float32), bias.astype(np.float32))
    return Weights.of(convolutions, name="file")


@pytest.fixture(scope="session")
def untrained_weights(untrained_cache: Path) -> Weights:
    return Weights.of(untrained_convolutions(untrained_cache), name="untrained", notice="never trained")


@pytest.fixture(scope="session")
def engines(random_weights: Weights, untrained_weights: Weights) -> dict[str, StyleEngine]:
    """One warm engine a method, as a worker has it: shared by all tests, on purpose."""
    return {"classic": StyleEngine(random_weights), "untrained": StyleEngine(untrained_weights)}


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """A maker of picture files from arrays or Pillow pictures."""

    def encode(picture: np.ndarray | Image.Image, kind: str = "PNG", **parameters: object) -> bytes:
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture)
        buffer = io.BytesIO()
        picture.save(buffer, kind, **parameters)
        return buffer.getvalue()

    return encode


@pytest.fixture
def scene(encode: Callable[..., bytes]) -> Callable[..., bytes]:
    """A maker of small PNG scenes: smooth colours, some discs, a little noise; another one for each seed."""

    def scene(width: int = 64, height: int = 48, *, seed: int = 0) -> bytes:
        generator = np.random.default_rng(seed)
        rows, columns = np.mgrid[:height, :width]
        frequencies = generator.uniform(0.05, 0.4, (3, 2))
        picture = np.stack([np.sin(rows * a + columns * b) for a, b in frequencies], axis=-1) * 0.3 + 0.5
        for _ in range(12):
            row, column = generator.uniform(0, height), generator.uniform(0, width)
            disc = (rows - row) ** 2 + (columns - column) ** 2 < generator.uniform(2, 12) ** 2
            picture[disc] = generator.uniform(0, 1, 3)
        picture += generator.normal(0, 0.02, picture.shape)
        return encode(np.rint(picture.clip(0, 1) * 255).astype(np.uint8))

    return scene

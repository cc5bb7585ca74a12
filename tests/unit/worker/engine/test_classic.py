from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from shared.options import StyleOptions
from tests.unit.worker.engine import reference

pytestmark = pytest.mark.slow


def _array(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data))).astype(np.float32) / 255


@pytest.mark.parametrize(
    "options",
    [
        StyleOptions(steps=20, size=64),
        StyleOptions(steps=20, size=64, content_weight=1e8, style_weight=0.02, learning_rate=0.01),
    ],
    ids=["defaults", "other weights"],
)
def test_equals_the_plain_reference_after_20_steps(engines, random_weights, scene, options):
    content, style = scene(64, 48, seed=1), scene(40, 64, seed=2)
    steps = list(engines["classic"].stylize(content, style, options))
    expected, losses = reference.classic(
        _array(content),
        _array(style),
        random_weights.convolutions,
        steps=20,
        learning_rate=options.learning_rate,
        content_weight=options.content_weight,
        style_weight=options.style_weight,
    )
    image = steps[-1].state().arrays["image"][0]
    assert np.abs(image - expected).max() <= 1 / 255
    np.testing.assert_array_equal(steps[-1].image(), np.rint(image * 255).astype(np.uint8))
    found = [(step.losses.content, step.losses.style) for step in steps]
    np.testing.assert_allclose(found, losses, rtol=5e-3, atol=1e-4 * losses[0][1])
    assert [step.losses.total for step in steps] == pytest.approx([sum(pair) for pair in found])


def test_it_starts_from_the_content_and_moves_towards_the_style(engines, scene):
    content, style = scene(seed=1), scene(seed=2)
    options = StyleOptions(steps=8, size=64)
    steps = list(engines["classic"].stylize(content, style, options))
    assert steps[0].losses.content == 0
    assert steps[-1].losses.style < steps[0].losses.style
    first = steps[0].image().astype(int) - np.rint(_array(content) * 255).astype(int)
    assert 0 < np.abs(first).max() <= round(options.learning_rate * 255) + 1

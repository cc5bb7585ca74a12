from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from worker.engine.adam import Adam
from worker.engine.methods.palette import (
    LEVELS,
    enlarged,
    laplacian_bands,
    matched_colours,
    palette_root,
    pooled,
)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 40), (48, 64)])
def test_levels_halve_and_none_is_empty(height, width):
    levels = pooled(tf.ones([1, height, width, 3]), extend="SYMMETRIC")
    sides = [-(-height // 16) * 16, -(-width // 16) * 16]
    assert [level.shape[1:3] for level in levels] == [[side >> i for side in sides] for i in range(LEVELS)]
    for level in levels:
        np.testing.assert_allclose(level, 1.0, atol=1e-6)


def test_a_cell_is_the_mean_of_the_pixels_it_stands_over():
    image = np.random.default_rng(0).uniform(size=(1, 33, 50, 3)).astype(np.float32)
    level = pooled(tf.constant(image), extend="CONSTANT")[2].numpy()
    np.testing.assert_allclose(level[0, 3, 5], image[0, 12:16, 20:24].mean(axis=(0, 1)), rtol=1e-5)


def test_enlarging_keeps_cells_over_their_pixels():
    cell = np.zeros((1, 4, 4, 3), np.float32)
    cell[0, 1, 2] = 1
    large = enlarged(tf.constant(cell), 4).numpy()[0, :, :, 0]
    rows, columns = np.indices(large.shape)
    assert (rows * large).sum() / large.sum() == pytest.approx(4 + 1.5)
    assert (columns * large).sum() / large.sum() == pytest.approx(8 + 1.5)


def test_bands_add_up_to_the_picture():
    image = tf.constant(np.random.default_rng(0).uniform(size=(1, 32, 48, 3)).astype(np.float32))
    *bands, total = laplacian_bands(image)
    for band in reversed(bands):
        total = enlarged(total, 2) + band
    np.testing.assert_allclose(total, image, atol=1e-5)


def test_matched_colours_have_the_style_s_mean_and_covariance():
    generator = np.random.default_rng(0)
    content = generator.normal([0.2, 0.5, 0.7], 0.02, (40, 50, 3)).astype(np.float32)
    mixing = np.array([[1, 0.5, 0], [0, 1, 0.3], [0, 0, 0.4]])
    style = (generator.normal(0, 0.06, (30, 20, 3)) @ mixing + [0.5, 0.4, 0.45]).astype(np.float32)
    matched = matched_colours(content, style, variance_floor=1e-9)
    np.testing.assert_allclose(matched.mean(axis=(0, 1)), style.mean(axis=(0, 1)), atol=1e-3)
    np.testing.assert_allclose(np.cov(matched.reshape(-1, 3).T), np.cov(style.reshape(-1, 3).T), atol=2e-4)


def test_matching_colours_with_itself_changes_nothing():
    picture = np.random.default_rng(0).uniform(size=(20, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(matched_colours(picture, picture, variance_floor=1e-4), picture, atol=1e-5)


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_flat_pictures_are_matched_without_harm(grey):
    flat = np.full((16, 16, 3), grey, np.float32)
    style = np.random.default_rng(0).uniform(size=(16, 16, 3)).astype(np.float32)
    for content, example in ((flat, style), (style, flat), (flat, flat)):
        matched = matched_colours(content, example, variance_floor=1e-4)
        assert np.isfinite(matched).all()
        assert 0 <= matched.min() <= matched.max() <= 1


def test_palette_root_squares_to_the_covariance():
    band = np.random.default_rng(0).normal(0, 0.1, (30, 30, 3)).astype(np.float32)
    band[..., 1] += band[..., 0]
    root = palette_root(band, variance_floor=0)
    np.testing.assert_allclose(root @ root, np.cov(band.reshape(-1, 3).T, bias=True), atol=1e-5)


def test_adam_against_its_definition():
    adam = Adam(beta1=0.9, beta2=0.99, epsilon=0.1)
    gradients = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    first = second = tf.zeros(4)
    m, v = np.zeros(4), np.zeros(4)
    for t, gradient in enumerate(gradients, start=1):
        found, first, second = adam.direction(gradient, first, second, tf.constant(float(t)))
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient.astype(float) ** 2
        expected = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 0.1)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

"""The classic method once more, straight from the formulas: float64, eager, nothing of the engine."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_BLOCKS = [2, 2, 4, 4, 2]
_STYLE = ["block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1"]


def activations(image: tf.Tensor, weights: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, tf.Tensor]:
    red, green, blue = tf.unstack(image * 255.0, axis=-1)
    x = tf.stack([blue - 103.939, green - 116.779, red - 123.68], axis=-1)
    found = {}
    for block, count in enumerate(_BLOCKS, start=1):
        if block > 1:
            x = tf.nn.pool(x, [2, 2], "MAX", strides=[2, 2], padding="VALID")
        for index in range(1, count + 1):
            name = f"block{block}_conv{index}"
            kernel, bias = weights[name]
            x = tf.nn.convolution(x, kernel.astype(np.float64), padding="SAME") + bias.astype(np.float64)
            x = tf.maximum(x, 0.0)
            found[name] = x
    return found


def gram(x: tf.Tensor) -> tf.Tensor:
    return tf.einsum("bijc,bijd->bcd", x, x) / (x.shape[1] * x.shape[2])


def classic(
    content: np.ndarray,
    style: np.ndarray,
    weights: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    steps: int,
    learning_rate: float = 0.02,
    content_weight: float = 1e4,
    style_weight: float = 1e-2,
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return the picture [H, W, 3] after `steps` steps, and (content loss, style loss) at each."""
    content_target = activations(tf.constant(content[None], tf.float64), weights)["block5_conv2"]
    style_found = activations(tf.constant(style[None], tf.float64), weights)
    style_targets = [gram(style_found[name]) for name in _STYLE]
    x = content[None].astype(np.float64)
    m, v = np.zeros_like(x), np.zeros_like(x)
    losses = []
    for t in range(1, steps + 1):
        with tf.GradientTape() as tape:
            image = tf.constant(x)
            tape.watch(image)
            found = activations(image, weights)
            content_loss = content_weight * tf.reduce_mean((found["block5_conv2"] - content_target) ** 2)
            style_loss = sum(
                style_weight / 5 * tf.reduce_mean((gram(found[name]) - target) ** 2)
                for name, target in zip(_STYLE, style_targets, strict=True)
            )
            loss = content_loss + style_loss
        g = tape.gradient(loss, image).numpy()
        m = 0.99 * m + 0.01 * g
        v = 0.999 * v + 0.001 * g**2
        x = np.clip(x - learning_rate * (m / (1 - 0.99**t)) / (np.sqrt(v / (1 - 0.999**t)) + 0.1), 0, 1)
        losses.append((float(content_loss), float(style_loss)))
    return x[0], losses

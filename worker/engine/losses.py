"""Losses on activations: Gram matrices, their distances, and the content without its contrast."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def gram_matrix(activation: tf.Tensor) -> tf.Tensor:
    """Return G[b,c,d] = Σᵢⱼ F[b,i,j,c]·F[b,i,j,d] / (H·W), shape [B, C, C], for activations F [B, H, W, C].

    It tells which channels fire together, wherever they do. Gatys et al. 2015, equation 3, divided by the
    number of places so that the size of a picture drops out.
    """
    shape = tf.shape(activation)
    flat = tf.reshape(activation, [shape[0], shape[1] * shape[2], activation.shape[-1]])
    places = tf.cast(shape[1] * shape[2], activation.dtype)
    return tf.matmul(flat, flat, transpose_a=True) / places


def mean_squared(activation: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Return the mean of the squared differences of two tensors of one shape."""
    return tf.reduce_mean(tf.math.squared_difference(activation, target))


def gram_loss(activations: Sequence[tf.Tensor], targets: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the mean over layers of mean((G − G*)²), from activations [1, h, w, C] and targets G* [1, C, C].

    Gatys et al. 2015, equations 4 and 5, with grand averages in the place of their sums.
    """
    layers = [
        mean_squared(gram_matrix(found), wanted) for found, wanted in zip(activations, targets, strict=True)
    ]
    return tf.add_n(layers) / len(layers)


def relative_statistics_error(
    activation: tf.Tensor, target_gram: tf.Tensor, target_mean: tf.Tensor
) -> tf.Tensor:
    """Return ‖G − G*‖²/‖G*‖² + ‖μ − μ*‖²/tr(G*), without unit, for one layer.

    Args:
        activation: Shape [1, h, w, C].
        target_gram: Gram matrix G* of the style, [1, C, C].
        target_mean: Channel means μ* of the style, [1, C].
    """
    gram_error = tf.reduce_sum(tf.math.squared_difference(gram_matrix(activation), target_gram))
    mean_error = tf.reduce_sum(tf.math.squared_difference(tf.reduce_mean(activation, [1, 2]), target_mean))
    trace = tf.reduce_sum(tf.linalg.trace(target_gram))
    return gram_error / tf.reduce_sum(tf.square(target_gram)) + mean_error / trace


def instance_normalised(activation: tf.Tensor, *, variance_floor: float) -> tf.Tensor:
    """Return (x − μ)/√(σ² + floor) per channel over the places of [1, h, w, C]: shape kept, contrast lost."""
    mean, variance = tf.nn.moments(activation, [1, 2], keepdims=True)
    return (activation - mean) * tf.math.rsqrt(variance + variance_floor)

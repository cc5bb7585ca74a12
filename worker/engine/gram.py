"""The Gram matrix of a layer's activations: which channels fire together, wherever they do."""

from __future__ import annotations

import tensorflow as tf


def gram_matrix(activation: tf.Tensor) -> tf.Tensor:
    """Return G[b,c,d] = Σᵢⱼ F[b,i,j,c]·F[b,i,j,d] / (H·W), shape [B, C, C], for activations F [B, H, W, C].

    Gatys et al. 2015, equation 3, divided by the number of places so that the size of a picture drops out.
    """
    shape = tf.shape(activation)
    flat = tf.reshape(activation, [shape[0], shape[1] * shape[2], activation.shape[-1]])
    places = tf.cast(shape[1] * shape[2], activation.dtype)
    return tf.matmul(flat, flat, transpose_a=True) / places

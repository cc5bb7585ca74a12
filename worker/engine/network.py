"""The VGG19 forward pass, with the weights as arguments; runs no layer beyond the deepest one asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import tensorflow as tf

from worker.engine.vgg19 import follows_pooling, kernel_shape, layers_up_to
from worker.engine.weights.weights import Weights

#: Kernel [3, 3, in, out] and bias [out] of each convolution, float32, in network order.
Convolutions = Sequence[tuple[tf.Tensor, tf.Tensor]]

_IMAGENET_MEANS_BGR = (103.939, 116.779, 123.68)


def caffe_input(image: tf.Tensor) -> tf.Tensor:
    """Turn RGB in [0, 1], shape [1, H, W, 3], into what the published weights expect: BGR × 255, centred."""
    return tf.reverse(image, axis=[-1]) * 255.0 - tf.constant(_IMAGENET_MEANS_BGR, tf.float32)


def convolution_tensors(weights: Weights, deepest: str) -> tuple[tuple[tf.Tensor, tf.Tensor], ...]:
    """Return the weights up to and including layer `deepest` as tensors, in network order."""
    return tuple(
        (tf.constant(kernel, tf.float32), tf.constant(bias, tf.float32))
        for kernel, bias in (weights.convolutions[name] for name in layers_up_to(deepest))
    )


def convolution_specs(deepest: str) -> tuple[tuple[tf.TensorSpec, tf.TensorSpec], ...]:
    """Return the signature of what `convolution_tensors` returns."""
    shapes = [kernel_shape(name) for name in layers_up_to(deepest)]
    return tuple(
        (tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape[-1:], tf.float32)) for shape in shapes
    )


def features(
    inputs: tf.Tensor,
    convolutions: Convolutions,
    layers: Collection[str],
    *,
    padding: Literal["zero", "reflect"],
) -> dict[str, tf.Tensor]:
    """Return the activations (after ReLU) of `layers`, each [1, h, w, C] float32, for inputs [1, H, W, 3].

    Each pooling halves height and width, rounding down. H and W must be at least 16.
    """
    names = layers_up_to(max(layers))  # the names sort in network order
    found: dict[str, tf.Tensor] = {}
    activation = inputs
    for name, (kernel, bias) in zip(names, convolutions, strict=True):
        if follows_pooling(name):
            activation = tf.nn.max_pool2d(activation, 2, 2, "VALID")
        if padding == "reflect":
            activation = tf.pad(activation, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
        convolved = tf.nn.conv2d(activation, kernel, 1, "VALID" if padding == "reflect" else "SAME")
        activation = tf.nn.relu(tf.nn.bias_add(convolved, bias))
        if name in layers:
            found[name] = activation
    return found

"""Gatys et al. 2015 with Adam on the pixels, for trained weights: the preset `classic`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from shared.options import StyleOptions
from worker.engine.adam import Adam
from worker.engine.losses import gram_loss, gram_matrix, mean_squared
from worker.engine.methods.base import Picture, State
from worker.engine.network import Convolutions, caffe_input, convolution_specs, convolution_tensors, features
from worker.engine.weights.weights import Weights

CONTENT_LAYER = "block5_conv2"
STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
ADAM = Adam(beta1=0.99, beta2=0.999, epsilon=1e-1)

_PICTURE_SPEC = tf.TensorSpec([1, None, None, 3], tf.float32)
_SCALAR_SPEC = tf.TensorSpec([], tf.float32)


class Classic:
    """The method of the paper, compiled once: weights, targets, moments and scalars are its arguments."""

    def __init__(self, weights: Weights) -> None:
        self._convolutions = convolution_tensors(weights, CONTENT_LAYER)
        grams = tuple(
            tf.TensorSpec([1, kernel.shape[-1], kernel.shape[-1]], tf.float32)
            for kernel in (weights.convolutions[layer][0] for layer in STYLE_LAYERS)
        )
        self._step = tf.function(
            _step,
            input_signature=[
                convolution_specs(CONTENT_LAYER),
                {"content": tf.TensorSpec([1, None, None, 512], tf.float32), "grams": grams},
                dict.fromkeys(("image", "first", "second"), _PICTURE_SPEC),
                dict.fromkeys(("content_weight", "style_weight", "learning_rate", "step"), _SCALAR_SPEC),
            ],
        )

    @staticmethod
    def fits(options: StyleOptions, weights: Weights) -> bool:  # noqa: ARG004 (any options)
        """Whether the network was trained: this method's constants were found for such ones."""
        return weights.is_trained

    def prepare(
        self, content: Picture, style: Picture, options: StyleOptions, *, start: Picture | None = None
    ) -> ClassicOptimisation:
        """Compute the content's activations and the style's Gram matrices."""
        image = tf.constant(content)[tf.newaxis]
        held = _activations(self._convolutions, image)[CONTENT_LAYER]
        wanted = _activations(self._convolutions, tf.constant(style)[tf.newaxis])
        grams = tuple(gram_matrix(wanted[layer]) for layer in STYLE_LAYERS)
        return ClassicOptimisation(
            advance=partial(self._step, self._convolutions, {"content": held, "grams": grams}),
            image=image if start is None else tf.constant(start)[tf.newaxis],
            options=options,
        )

    def trace_count(self) -> int:
        """Return how many times the step has been traced."""
        return int(self._step.experimental_get_tracing_count())


class ClassicOptimisation:
    """One pair of pictures under `Classic`."""

    def __init__(self, *, advance: Callable[..., State], image: tf.Tensor, options: StyleOptions) -> None:
        self._advance = advance
        self._image = image
        self._scalars = {
            "content_weight": tf.constant(options.content_weight, tf.float32),
            "style_weight": tf.constant(options.style_weight, tf.float32),
            "learning_rate": tf.constant(options.learning_rate, tf.float32),
        }

    def start(self) -> State:
        """Return the picture to begin with, the content's as a rule, with zero moments."""
        zeros = tf.zeros_like(self._image)
        return {"image": self._image, "first": zeros, "second": zeros, "report": tf.zeros([3])}

    def advance(self, state: State, step: int) -> State:
        """Take one step of Adam and clip to [0, 1]."""
        moving = {name: state[name] for name in ("image", "first", "second")}
        return self._advance(moving, self._scalars | {"step": tf.constant(step, tf.float32)})

    def picture(self, state: State, step: int) -> tf.Tensor:  # noqa: ARG002 (the last iterate is the result)
        """Return the iterate itself."""
        return state["image"]


def _activations(convolutions: Convolutions, image: tf.Tensor) -> dict[str, tf.Tensor]:
    return features(caffe_input(image), convolutions, (*STYLE_LAYERS, CONTENT_LAYER), padding="zero")


def _step(convolutions: Convolutions, targets: State, state: State, scalars: State) -> State:
    """The computation that is compiled: losses and gradient at `image`, then one step of Adam."""
    image = state["image"]
    with tf.GradientTape() as tape:
        tape.watch(image)
        found = _activations(convolutions, image)
        content = scalars["content_weight"] * mean_squared(found[CONTENT_LAYER], targets["content"])
        style = scalars["style_weight"] * gram_loss(
            [found[layer] for layer in STYLE_LAYERS], targets["grams"]
        )
        total = content + style
    gradient = tape.gradient(total, image)
    update, first, second = ADAM.direction(gradient, state["first"], state["second"], scalars["step"])
    return {
        "image": tf.clip_by_value(image - scalars["learning_rate"] * update, 0.0, 1.0),
        "first": first,
        "second": second,
        "report": tf.stack([content, style, tf.reduce_mean(update)]),
    }

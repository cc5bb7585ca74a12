"""Style transfer with a network that was never trained: Adam on a pyramid, led by the style's own palette.

Where this leaves Gatys et al. 2015: shallow layers; each layer's style error measured against its own start;
content compared without its contrast; colours moved before the first step; and a step that, at each size of
detail, follows the colours in which the style varies at that size. The weights and the rate of the options
act as ratios to their defaults on this recipe's own constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import tensorflow as tf

from shared.options import StyleOptions
from worker.engine.adam import Adam
from worker.engine.losses import gram_matrix, instance_normalised, mean_squared, relative_statistics_error
from worker.engine.methods.base import Picture, State
from worker.engine.methods.palette import (
    LEVELS,
    enlarged,
    laplacian_bands,
    matched_colours,
    palette_root,
    pooled,
)
from worker.engine.network import Convolutions, convolution_specs, convolution_tensors, features
from worker.engine.vgg19 import CONVOLUTIONS
from worker.engine.weights.untrained import DEEPEST_LAYER, INPUT_OFFSET
from worker.engine.weights.weights import Weights

CONTENT_LAYER = "block3_conv1"
STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1")
CONTENT_WEIGHT = 0.1
LEARNING_RATE = 0.1
LAST_RATE_RATIO = 0.05
AVERAGE_DECAY = 0.9
ADAM = Adam(beta1=0.9, beta2=0.99, epsilon=1e-12)
#: How far each level moves, finest first; at full stride the finest one leaves grain on smooth areas.
LEVEL_STRIDES = (0.5, 1.0, 1.0, 1.0, 1.0)

_COLOUR_VARIANCE_FLOOR = 1e-4
_PALETTE_VARIANCE_FLOOR = 1e-6
_INSTANCE_VARIANCE_FLOOR = 1e-2
_LEAST_START_ERROR = 1e-3
_LEAST_CONTENT_ENERGY = 1e-3

_PICTURE_SPEC = tf.TensorSpec([1, None, None, 3], tf.float32)
_SCALAR_SPEC = tf.TensorSpec([], tf.float32)
_MOMENTS = tuple(f"{moment}_{level}" for moment in ("first", "second") for level in range(LEVELS))


class Untrained:
    """The recipe, compiled once: weights, targets, moments and scalars are the step's arguments."""

    def __init__(self, weights: Weights) -> None:
        self._convolutions = convolution_tensors(weights, DEEPEST_LAYER)
        channels = [CONVOLUTIONS[layer][1] for layer in STYLE_LAYERS]
        self._step = tf.function(
            _step,
            input_signature=[
                convolution_specs(DEEPEST_LAYER),
                {
                    "content": tf.TensorSpec([1, None, None, CONVOLUTIONS[CONTENT_LAYER][1]], tf.float32),
                    "grams": tuple(tf.TensorSpec([1, count, count], tf.float32) for count in channels),
                    "means": tuple(tf.TensorSpec([1, count], tf.float32) for count in channels),
                    "palette": tf.TensorSpec([LEVELS, 3, 3], tf.float32),
                },
                dict.fromkeys(("image", "average", *_MOMENTS), _PICTURE_SPEC)
                | {"start_errors": tf.TensorSpec([len(STYLE_LAYERS)], tf.float32)},
                dict.fromkeys(("content_weight", "style_weight", "learning_rate", "step"), _SCALAR_SPEC),
            ],
        )

    @staticmethod
    def fits(options: StyleOptions, weights: Weights) -> bool:  # noqa: ARG004 (any options)
        """Whether the network was never trained: this method's constants were found for such ones."""
        return not weights.is_trained

    def prepare(
        self, content: Picture, style: Picture, options: StyleOptions, *, start: Picture | None = None
    ) -> UntrainedOptimisation:
        """Recolour the content, and compute its activations and the style's statistics and palette."""
        matched = matched_colours(content, style, variance_floor=_COLOUR_VARIANCE_FLOOR)
        image, example = tf.constant(matched)[tf.newaxis], tf.constant(style)[tf.newaxis]
        wanted = _activations(self._convolutions, example)
        found = _activations(self._convolutions, image)
        bands = laplacian_bands(example)
        targets = {
            "content": _structure(found),
            "grams": tuple(gram_matrix(wanted[layer]) for layer in STYLE_LAYERS),
            "means": tuple(tf.reduce_mean(wanted[layer], [1, 2]) for layer in STYLE_LAYERS),
            "palette": tf.stack(
                [
                    stride * palette_root(band[0].numpy(), variance_floor=_PALETTE_VARIANCE_FLOOR)
                    for stride, band in zip(LEVEL_STRIDES, bands, strict=True)
                ]
            ),
        }
        return UntrainedOptimisation(
            advance=partial(self._step, self._convolutions, targets),
            image=image if start is None else tf.constant(start)[tf.newaxis],
            start_errors=_style_errors(found, targets),
            options=options,
        )

    def trace_count(self) -> int:
        """Return how many times the step has been traced."""
        return int(self._step.experimental_get_tracing_count())


class UntrainedOptimisation:
    """One pair of pictures under `Untrained`."""

    def __init__(
        self,
        *,
        advance: Callable[..., State],
        image: tf.Tensor,
        start_errors: tf.Tensor,
        options: StyleOptions,
    ) -> None:
        self._advance = advance
        self._image = image
        self._start_errors = start_errors
        self._steps = options.steps
        self._learning_rate = LEARNING_RATE * _ratio(options, "learning_rate")
        self._weights = {
            "content_weight": tf.constant(CONTENT_WEIGHT * _ratio(options, "content_weight"), tf.float32),
            "style_weight": tf.constant(_ratio(options, "style_weight"), tf.float32),
        }

    def start(self) -> State:
        """Return the picture to begin with, zero moments, and the style errors of the recoloured content."""
        moments = [tf.zeros_like(level) for level in pooled(self._image, extend="CONSTANT")] * 2
        return {
            "image": self._image,
            "average": tf.zeros_like(self._image),
            "start_errors": self._start_errors,
            "report": tf.zeros([3]),
            **dict(zip(_MOMENTS, moments, strict=True)),
        }

    def advance(self, state: State, step: int) -> State:
        """Take one step on all levels, clip to [0, 1], and add the iterate to the running mean."""
        moving = {name: tensor for name, tensor in state.items() if name != "report"}
        progress = (step - 1) / max(1, self._steps - 1)
        cosine = 0.5 + 0.5 * math.cos(math.pi * progress)
        rate = self._learning_rate * (LAST_RATE_RATIO + (1 - LAST_RATE_RATIO) * cosine)
        scalars = {"learning_rate": tf.constant(rate, tf.float32), "step": tf.constant(step, tf.float32)}
        return self._advance(moving, self._weights | scalars)

    def picture(self, state: State, step: int) -> tf.Tensor:
        """Return the mean of the iterates, decay 0.9, corrected for its start at zero."""
        return state["average"] / (1.0 - AVERAGE_DECAY**step)


def _ratio(options: StyleOptions, name: str) -> float:
    return float(getattr(options, name) / StyleOptions.model_fields[name].default)


def _activations(convolutions: Convolutions, image: tf.Tensor) -> dict[str, tf.Tensor]:
    return features(image - INPUT_OFFSET, convolutions, STYLE_LAYERS, padding="reflect")


def _structure(found: dict[str, tf.Tensor]) -> tf.Tensor:
    return instance_normalised(found[CONTENT_LAYER], variance_floor=_INSTANCE_VARIANCE_FLOOR)


def _style_errors(found: dict[str, tf.Tensor], targets: State) -> tf.Tensor:
    """Return each style layer's relative error, shape [4]."""
    wanted = zip(STYLE_LAYERS, targets["grams"], targets["means"], strict=True)
    return tf.stack([relative_statistics_error(found[layer], gram, mean) for layer, gram, mean in wanted])


def _step(convolutions: Convolutions, targets: State, state: State, scalars: State) -> State:
    """The computation that is compiled: losses and gradient at `image`, then a step of Adam on each level."""
    image = state["image"]
    with tf.GradientTape() as tape:
        tape.watch(image)
        found = _activations(convolutions, image)
        content = mean_squared(_structure(found), targets["content"])
        energy = tf.maximum(tf.reduce_mean(tf.square(targets["content"])), _LEAST_CONTENT_ENERGY)
        content *= scalars["content_weight"] / energy
        relative = _style_errors(found, targets) / tf.maximum(state["start_errors"], _LEAST_START_ERROR)
        style = scalars["style_weight"] * tf.reduce_mean(relative)
        total = content + style
    update, moments = _pyramid_update(tape.gradient(total, image), targets["palette"], state, scalars["step"])
    image = tf.clip_by_value(image - scalars["learning_rate"] * update, 0.0, 1.0)
    return {
        "image": image,
        "average": AVERAGE_DECAY * state["average"] + (1 - AVERAGE_DECAY) * image,
        "start_errors": state["start_errors"],
        "report": tf.stack([content, style, tf.reduce_mean(update)]),
        **moments,
    }


def _pyramid_update(
    gradient: tf.Tensor, palette: tf.Tensor, state: State, step: tf.Tensor
) -> tuple[tf.Tensor, State]:
    """Return the sum over levels of enlarged (Adam's direction · S), and the new moments.

    S, the root of the style's colour covariance at that level, stands on both sides: a change of variables,
    not a mere scaling, so the step moves along the style's own colours and by as much as they vary.
    """
    shape = tf.shape(gradient)
    update, moments = tf.zeros_like(gradient), {}
    for level, pooled_gradient in enumerate(pooled(gradient, extend="CONSTANT")):
        root = palette[level]
        direction, moments[f"first_{level}"], moments[f"second_{level}"] = ADAM.direction(
            tf.tensordot(pooled_gradient, root, 1), state[f"first_{level}"], state[f"second_{level}"], step
        )
        coloured = enlarged(tf.tensordot(direction, root, 1), 2**level)
        update += coloured[:, : shape[1], : shape[2]]
    return update, moments

"""The engine: one a process, warm, which runs job after job through the compiled step of its method."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.errors import EngineFailed, LossNotFinite
from shared.options import StyleOptions
from worker.engine.images import decode_picture
from worker.engine.methods.base import Method, Optimisation, Picture, State, choose_method
from worker.engine.methods.classic import Classic
from worker.engine.methods.untrained import Untrained
from worker.engine.room import Demand, Place, default_place, memory_errors
from worker.engine.runtime import configure_tensorflow, forget_gpu_peak, gpu_peak_bytes
from worker.engine.state import EngineState, Losses, MadeBy, Step
from worker.engine.weights.weights import Weights

#: Changes whenever the same job would end in other bytes than before.
ENGINE_VERSION = "1"

#: The registry: every method there is. A job is the first one's that it fits.
METHODS: tuple[type[Method], ...] = (Classic, Untrained)


class FastDraft(Protocol):
    """What makes the picture that a job may start from; see `worker.engine.fast`."""

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return what makes it."""

    def picture(self, content: bytes, style: bytes, options: StyleOptions) -> Picture:
        """Return the picture of two encoded ones at the content's working size: RGB float32, [H, W, 3]."""


class StyleEngine:
    """Runs style transfer jobs with one set of weights, on TensorFlow's default device.

    Makes TensorFlow deterministic and lets it take GPU memory as needed: settings of the whole process.
    """

    def __init__(
        self, weights: Weights, *, fast: FastDraft | None = None, place: Place | None = None
    ) -> None:
        """Prepare to run jobs; `fast` makes the pictures that some of them start from.

        `place` is TensorFlow's default device, as far as its memory goes; asked for where it is not given.
        """
        configure_tensorflow()
        self._weights = weights
        self._place = place or default_place()
        self._fast = fast
        self._methods: dict[type[Method], Method] = {}
        # So that a worker that is ready has the weights of most jobs' method on its device.
        self._method(StyleOptions())

    @property
    def weights(self) -> Weights:
        """The weights that the engine was built with."""
        return self._weights

    @property
    def notice(self) -> str | None:
        """The whole of what people have to know of the weights, for the log and `/workers`."""
        return self._weights.notice

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return what makes the picture of a job with these options: both networks where it takes two."""
        own = self._weights
        if options.init != "fast":
            return MadeBy(ENGINE_VERSION, own.name, own.sha256, own.mark)
        draft = self._require_fast().made_by(options)
        both = hashlib.sha256(f"{own.sha256} {draft.engine_version} {draft.weights_sha256}".encode())
        return MadeBy(ENGINE_VERSION, f"{own.name}, begun by {draft.weights}", both.hexdigest(), own.mark)

    @property
    def trace_count(self) -> int:
        """How many times steps have been traced: once for each method that has had a job."""
        return sum(method.trace_count() for method in self._methods.values())

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield a `Step` after each step of optimising the content picture towards the style picture.

        Args:
            content: An encoded picture file; its working size is the result's size.
            style: An encoded picture file; seen at its own aspect ratio, long side `options.size`.
            options: The resolved options.
            resume: A state that an earlier run of the same pictures and options gave; the run continues with
                the step after it and ends in the same bytes. If none is left, its picture is yielded again.

        Raises:
            PictureRefused: when a picture cannot be decoded or would be too narrow.
            CheckpointInvalid: when `resume` is not a state of this job.
            LossNotFinite: when a loss is no longer finite, naming step and part.
            OutOfMemory: when the device has not enough memory: on a CPU before anything is computed.
        """
        content_picture = decode_picture(content, size=options.size, name="content")
        style_picture = decode_picture(style, size=options.size, name="style")
        demand = self._demand(options, content_picture, style_picture)
        demand.check()
        with memory_errors(demand):
            method = self._method(options)
            forget_gpu_peak()
            begun = None
            if options.init == "fast" and resume is None:
                begun = self._require_fast().picture(content, style, options)
            optimisation = method.prepare(content_picture, style_picture, options, start=begun)
            state = optimisation.start()
        done = 0
        if resume is not None:
            resume.check({name: tuple(tensor.shape) for name, tensor in state.items()})
            state = {name: tf.constant(array) for name, array in resume.arrays.items()}
            done = resume.step
        if done >= options.steps:
            yield _record(optimisation, state, done, options.steps, seconds=0.0)
        for step in range(done + 1, options.steps + 1):
            started = time.perf_counter()
            with memory_errors(demand):
                state = optimisation.advance(state, step)
                _check_finite(state, step)
            yield _record(optimisation, state, step, options.steps, seconds=time.perf_counter() - started)

    def _demand(self, options: StyleOptions, content: Picture, style: Picture) -> Demand:
        (height, width), (style_height, style_width) = content.shape[:2], style.shape[:2]
        return Demand(self._place, self._weights.name, options, (width, height), (style_width, style_height))

    def _require_fast(self) -> FastDraft:
        if self._fast is None:
            raise EngineFailed("this node does not serve the fast method, from whose picture the job starts")
        return self._fast

    def _method(self, options: StyleOptions) -> Method:
        """Return the method of a job, made when its first job comes."""
        kind = choose_method(METHODS, options, self._weights)
        if kind not in self._methods:
            self._methods[kind] = kind(self._weights)
        return self._methods[kind]


def _record(optimisation: Optimisation, state: State, step: int, steps: int, *, seconds: float) -> Step:
    content, style, _ = (float(value) for value in state["report"].numpy())
    return Step(
        step=min(step, steps),
        steps=steps,
        losses=Losses(total=content + style, content=content, style=style),
        seconds=seconds,
        _image=partial(_to_uint8, optimisation, state, step),
        _state=partial(_to_host, state, step),
        gpu_peak_bytes=gpu_peak_bytes(),
    )


def _to_uint8(optimisation: Optimisation, state: State, step: int) -> NDArray[np.uint8]:
    picture = optimisation.picture(state, step)[0].numpy()
    levels: NDArray[np.uint8] = np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels


def _to_host(state: State, step: int) -> EngineState:
    # Copies, because on a CPU numpy() is a view of memory that belongs to TensorFlow.
    return EngineState(step, {name: np.array(tensor.numpy()) for name, tensor in state.items()})


def _check_finite(state: State, step: int) -> None:
    parts = ("content loss", "style loss", "update of the picture")
    for part, value in zip(parts, state["report"].numpy(), strict=True):
        if not math.isfinite(value):
            raise LossNotFinite(f"at step {step} the {part} is {value}")

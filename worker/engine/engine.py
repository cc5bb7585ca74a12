"""The engine: one a process, warm, which runs job after job through the compiled step of its method."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.errors import EngineFailed, LossNotFinite
from shared.options import StyleOptions
from worker.engine.images import decode_picture
from worker.engine.methods.base import Method, Optimisation, Picture, State, choose_method
from worker.engine.methods.classic import Classic
from worker.engine.methods.untrained import Untrained
from worker.engine.reads import DeviceReads, run_steps
from worker.engine.room import Demand, Place, default_place, memory_errors
from worker.engine.runtime import configure_tensorflow, forget_gpu_peak, gpu_peak_bytes, has_gpu
from worker.engine.state import EngineState, Losses, MadeBy, Step
from worker.engine.weights.weights import Weights

#: What `report` in a method's state holds, in host memory.
Report = NDArray[np.float32]

#: Changes whenever the same job would end in other bytes than before.
ENGINE_VERSION = "1"

#: The registry: every method there is. A job is the first one's that it fits.
METHODS: tuple[type[Method], ...] = (Classic, Untrained)

_WARM_SIDE_PX = 64
_Result = TypeVar("_Result")


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
        self,
        weights: Weights,
        *,
        fast: FastDraft | None = None,
        place: Place | None = None,
        reads_behind: bool | None = None,
    ) -> None:
        """Prepare to run jobs; `fast` makes the pictures that some of them start from.

        `place` is TensorFlow's default device, as far as its memory goes; asked for where it is not given.
        With `reads_behind` the losses of a step are read while the next one is computed. The default is to do
        so on a GPU: TensorFlow's CPU has computed a step when the call that enqueues it returns, so there is
        nothing to be gained there, and every step would be told of a step late.
        """
        configure_tensorflow()
        self._weights = weights
        self._place = place or default_place()
        self._fast = fast
        self._reads_behind = has_gpu() if reads_behind is None else reads_behind
        self._reads = DeviceReads()
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
            forget_gpu_peak()
            begun = None
            if options.init == "fast" and resume is None:
                begun = self._require_fast().picture(content, style, options)
            yield from self._optimise(content_picture, style_picture, options, start=begun, resume=resume)

    def warm(self) -> None:
        """Make one small step of each method that jobs with these weights have: the first finds it compiled.

        On a GPU that takes seconds in each process.
        """
        grey = np.full((_WARM_SIDE_PX, _WARM_SIDE_PX, 3), 0.5, np.float32)
        options = StyleOptions(steps=1, size=_WARM_SIDE_PX)
        for step in self._optimise(grey, grey, options, start=None, resume=None):
            step.image()
            step.state()

    def _optimise(
        self,
        content: Picture,
        style: Picture,
        options: StyleOptions,
        *,
        start: Picture | None,
        resume: EngineState | None,
    ) -> Iterator[Step]:
        method, demand = self._method(options), self._demand(options, content, style)
        # Statistics of the style are read in it.
        optimisation = self._reads.get(lambda: method.prepare(content, style, options, start=start))
        state, done = optimisation.start(), 0
        if resume is not None:
            resume.check({name: tuple(tensor.shape) for name, tensor in state.items()})
            state = {name: tf.constant(array) for name, array in resume.arrays.items()}
            done = resume.step

        def record(state: State, step: int, report: Report, seconds: float) -> Step:
            content_loss, style_loss, _ = (float(value) for value in report)
            return Step(
                step=min(step, options.steps),
                steps=options.steps,
                losses=Losses(content_loss + style_loss, content_loss, style_loss),
                seconds=seconds,
                _image=partial(self._read, demand, partial(_read_picture, optimisation, state, step)),
                _state=partial(self._read, demand, partial(_read_state, state, step)),
                gpu_peak_bytes=gpu_peak_bytes(),
            )

        if done >= options.steps:
            yield record(state, done, self._read(demand, partial(_read_report, state)), 0.0)
        steps = run_steps(
            optimisation.advance,
            lambda state: self._reads.begin(partial(_read_report, state)),
            state,
            first=done + 1,
            last=options.steps,
            reads_behind=self._reads_behind,
        )
        started = time.perf_counter()
        for step, state, report in steps:
            _check_finite(report, step)
            yield record(state, step, report, time.perf_counter() - started)
            started = time.perf_counter()

    def _read(self, demand: Demand, read: Callable[[], _Result]) -> _Result:
        """Read something of a job from the device, once all that was asked for before was read."""
        with memory_errors(demand):
            return self._reads.get(read)

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


def to_levels(picture: tf.Tensor) -> tf.Tensor:
    """Return a picture of float32 in [0, 1] as uint8 of the same shape, computed where it lies.

    Rounded half to even, as `numpy.rint` does; what lies outside [0, 1] is cut off.
    """
    return tf.cast(tf.round(tf.clip_by_value(picture, 0.0, 1.0) * 255.0), tf.uint8)


def _read_report(state: State) -> Report:
    # A copy, because on a CPU numpy() is a view of memory that belongs to TensorFlow.
    return np.array(state["report"].numpy())


def _read_picture(optimisation: Optimisation, state: State, step: int) -> NDArray[np.uint8]:
    return np.array(to_levels(optimisation.picture(state, step)[0]).numpy())


def _read_state(state: State, step: int) -> EngineState:
    return EngineState(step, {name: np.array(tensor.numpy()) for name, tensor in state.items()})


def _check_finite(report: Report, step: int) -> None:
    parts = ("content loss", "style loss", "update of the picture")
    for part, value in zip(parts, report, strict=True):
        if not math.isfinite(value):
            raise LossNotFinite(f"at step {step} the {part} is {value}")

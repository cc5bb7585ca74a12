"""What a node serves: the methods that its machine can, and one engine that carries out the jobs of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from shared.errors import InvalidSettings
from shared.logs import get_logger
from shared.memory import DeviceKind
from shared.options import Method, StyleOptions
from shared.settings import Settings
from worker.attempt import Engine
from worker.devices import Device
from worker.engine.fast.source import FastChoice, find_fast_model, why_no_fast_model
from worker.engine.state import EngineState, MadeBy, Step
from worker.engine.weights.source import ImagenetSource, WeightsChoice, check_weights, resolve_weights
from worker.memory import read_memory

if TYPE_CHECKING:
    from worker.engine.engine import StyleEngine
    from worker.engine.fast.engine import FastEngine

_log = get_logger(__name__)


@dataclass(frozen=True)
class ChosenMethods:
    """The methods that a node serves.

    `not_served` says by method why this machine cannot serve what the node would; what somebody left out is
    not in it.
    """

    served: frozenset[Method]
    not_served: Mapping[str, str]


def choose_methods(asked: str, settings: Settings) -> ChosenMethods:
    """Return the methods that a node is to serve: those that are named, or with `auto` all that it can.

    Raises:
        InvalidSettings: when a name is no method, or with `auto` when nothing can be served.
    """
    chosen = decide_methods(asked, reasons_not_served(settings))
    for method in sorted(chosen.not_served):
        _log.warning("method_not_served", method=method, reason=chosen.not_served[method])
    return chosen


def reasons_not_served(settings: Settings) -> dict[Method, str | None]:
    """Return by method why this machine has not what it runs on; None where it has."""
    return {Method.GATYS: _why_no_tensorflow(), Method.FAST: why_no_fast_model(settings)}


def decide_methods(asked: str, why_not: Mapping[Method, str | None]) -> ChosenMethods:
    """Decide which methods are served; `why_not` says of each why this machine cannot, None where it can.

    One that is named is served or refused when it is loaded, with all that is to be said of that.

    Raises:
        InvalidSettings: when a name is no method, or with `auto` when nothing can be served.
    """
    if asked == "auto":
        found = frozenset(method for method, reason in why_not.items() if reason is None)
        lacking = {method.value: reason for method, reason in why_not.items() if reason is not None}
        if not found:
            reasons = "; ".join(f"{method}: {reason}" for method, reason in lacking.items())
            raise InvalidSettings(f"this machine can serve no method: {reasons}")
        return ChosenMethods(found, lacking)
    return ChosenMethods(read_methods(asked) or frozenset(), {})


def read_methods(asked: str) -> frozenset[Method] | None:
    """Return the methods that `--methods` names; None for `auto`.

    Raises:
        InvalidSettings: when a name is no method.
    """
    if asked == "auto":
        return None
    known = {method.value: method for method in Method}
    words = [word.strip() for word in asked.split(",")]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise InvalidSettings(
            f"--methods is '{asked}', and '{unknown[0]}' is no method; known are auto, {', '.join(known)}"
        )
    return frozenset(known[word] for word in words)


def _why_no_tensorflow() -> str | None:
    # Only looked for: it is loaded in the child alone.
    return None if find_spec("tensorflow") else "TensorFlow is not installed"


@dataclass(frozen=True)
class PreparedEngine:
    """What `weights` are called, and how the engine is loaded, which is for the child of a node alone.

    Once it is loaded it has computed something of each method: a node that says that it is ready has nothing
    left to compile, and one that cannot compute says so before it has a job.
    """

    weights: str
    load: Callable[[], Engine]


def prepare_engine(
    methods: Collection[Method], settings: Settings, device: Device, *, threads: int | None = None
) -> PreparedEngine:
    """Find the weights of all methods, so that a node that could not use them refuses to start.

    `threads` are those that the fast method may compute with; TensorFlow has its own from the environment.

    Raises:
        WeightsError: when those of one cannot be had, saying what to do.
    """
    choice = None
    if Method.GATYS in methods:
        choice = resolve_weights(settings.vgg19_weights, ImagenetSource.of(settings))
        check_weights(choice)
    fast = find_fast_model(settings) if Method.FAST in methods else None

    def load() -> Engine:
        engines: dict[Method, Engine] = {}
        fast_engine = None
        if fast is not None:
            engines[Method.FAST] = fast_engine = load_fast(fast, threads=threads)
        if choice is not None:
            engines[Method.GATYS] = _load_gatys(choice, settings, device, fast_engine)
        return NodeEngine(engines)

    names = [*([choice.kind] if choice is not None else []), *([fast.name] if fast is not None else [])]
    return PreparedEngine(names[0], load)


def load_fast(choice: FastChoice, *, threads: int | None = None) -> FastEngine:
    """Load the fast engine, and run it once; None for `threads` takes as many as there are processors."""
    from worker.engine.fast.engine import FastEngine  # here: the runtime is for the child alone
    from worker.engine.fast.model import load_fast_model

    engine = FastEngine(load_fast_model(choice, threads=threads))
    engine.warm()
    return engine


def _load_gatys(
    choice: WeightsChoice, settings: Settings, device: Device, fast: FastEngine | None
) -> StyleEngine:
    from worker.engine.runtime import load_overlooked_libraries, native_messages_held, require_gpu

    has_gpu = device.number is not None
    if has_gpu:
        load_overlooked_libraries()
    with native_messages_held():
        from worker.engine.engine import StyleEngine  # here: TensorFlow is for the child alone
        from worker.engine.room import Place
        from worker.engine.weights.weights import load_weights

    place = None
    if has_gpu:
        require_gpu(device.label)
        place = Place(DeviceKind.GPU, lambda: read_memory(device).job_bytes)
    engine = StyleEngine(load_weights(choice, settings.cache_dir), fast=fast, place=place)
    engine.warm()
    return engine


class NodeEngine:
    """The engines of a node as one: a job is its method's."""

    def __init__(self, engines: Mapping[Method, Engine]) -> None:
        self._engines = engines

    @property
    def notice(self) -> str | None:
        """The whole of what people have to know of the weights of all of them."""
        return " ".join(engine.notice for engine in self._engines.values() if engine.notice) or None

    def made_by(self, options: StyleOptions) -> MadeBy:
        """Return what makes the picture of a job with these options."""
        return self._of(options).made_by(options)

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield one record a step, as the engine of the method does."""
        return self._of(options).stylize(content, style, options, resume=resume)

    def _of(self, options: StyleOptions) -> Engine:
        return self._engines[Method(options.method)]

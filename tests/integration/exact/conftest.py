"""The real engine, warm; a worker's context; a job of 12 steps; and the result of its uninterrupted run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, WorkerEvent, read_event, read_marker
from shared.settings import Settings
from shared.storage import layout
from tests.integration.exact.real_engine import METHODS, Killed, Watched, killed_after, load_engine
from worker.context import WorkerContext
from worker.engine.engine import StyleEngine
from worker.runner import Outcome, Runner

STEPS = 12
CHECKPOINT_EVERY = 4


@pytest.fixture(scope="session")
def weights_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="session")
def engines(weights_cache: Path) -> dict[str, StyleEngine]:
    return {method: load_engine(method, weights_cache) for method in METHODS}


@pytest.fixture(scope="session")
def uninterrupted() -> dict[tuple[str, str], str]:
    """SHA-256 of the result by method and preset, filled at first use."""
    return {}


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def preset() -> str:
    """The preset of the job; a test that goes through all of them says so."""
    return "classic"


@dataclass
class Bench:
    """One method's engine at several nodes, and what a test does with it."""

    context: WorkerContext
    method: str
    engine: StyleEngine
    message: JobMessage
    results: dict[tuple[str, str], str]
    nodes: int = field(default=0)

    def run(
        self,
        message: JobMessage,
        after: Callable[[int], None] | None = None,
        *,
        drain_at: int | None = None,
    ) -> tuple[Outcome, list[int]]:
        """Carry out an attempt at a node that was not used before; return the steps that it made too."""
        self.nodes += 1
        engine = Watched(self.engine, after)
        context = replace(self.context, worker_id=f"node-{self.nodes}")
        draining = (lambda: engine.step == drain_at) if drain_at else (lambda: False)
        return Runner(context, engine, draining=draining).run(message), engine.steps

    def kill(self, message: JobMessage, cut: int) -> None:
        """Carry out an attempt until the process dies after `cut` steps."""
        with pytest.raises(Killed):
            self.run(message, killed_after(cut))

    def attempt(self, number: int) -> JobMessage:
        return self.message.model_copy(update={"attempt": number})

    def result(self, message: JobMessage) -> str:
        """Return the SHA-256 of the result that an attempt committed."""
        marker = read_marker(self.context.store.read(layout.marker_key(message.job_id, message.attempt)))
        return hashlib.sha256(self.context.store.read(marker.outputs[0].key)).hexdigest()

    def alone(self) -> str:
        """Return the SHA-256 of the result of the same job, never interrupted."""
        key = self.method, self.message.options.preset
        if key not in self.results:
            other = self.message.model_copy(update={"job_id": "alone"})
            assert self.run(other) == (Outcome.ENDED, list(range(1, STEPS + 1)))
            self.results[key] = self.result(other)
        return self.results[key]

    def reported(self) -> list[WorkerEvent]:
        """Return what was reported since the last call."""
        deliveries = self.context.redis.stream.fresh(count=1000)
        self.context.redis.stream.acknowledge(deliveries)
        return [read_event(delivery.text) for delivery in deliveries]

    def resumed_from(self) -> int | None:
        """Return the step that the last claim resumed from."""
        return [e.data["resumed_from_step"] for e in self.reported() if e.type is EventType.CLAIMED][-1]


@pytest.fixture
def bench(
    settings: Settings,
    engines: dict[str, StyleEngine],
    uninterrupted: dict[tuple[str, str], str],
    make_picture: Callable[..., bytes],
    method: str,
    preset: str,
) -> Iterator[Bench]:
    context = WorkerContext.open(settings, worker_id="node", device="cpu")
    pictures = []
    for seed in (1, 2):
        data = make_picture(seed=seed)
        sha256 = hashlib.sha256(data).hexdigest()
        context.store.write(layout.asset_key(sha256), data)
        pictures.append(InputPicture(key=layout.asset_key(sha256), sha256=sha256))
    options = StyleOptions(preset=preset, steps=STEPS, size=48, checkpoint_every=CHECKPOINT_EVERY)
    message = JobMessage(job_id="job", attempt=1, content=pictures[0], style=pictures[1], options=options)
    yield Bench(context, method, engines[method], message, uninterrupted)
    context.redis.close()

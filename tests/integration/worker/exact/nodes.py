"""Nodes with the real engine that carry out attempts of one job, and the interruptions of these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from shared.protocol import EventType, JobMessage, WorkerEvent, read_event, read_marker
from shared.storage import layout
from tests.support.real_engine import Killed, Watched, killed_after
from worker.context import WorkerContext
from worker.engine.engine import StyleEngine
from worker.runner import Outcome, Runner

STEPS = 12
CHECKPOINT_EVERY = 4


@dataclass
class Nodes:
    """One method's engine at several nodes, and what a test does with it."""

    context: WorkerContext
    method: str
    engine: StyleEngine
    message: JobMessage
    results: dict[tuple[str, str], str]
    used: int = field(default=0)

    def run(
        self,
        message: JobMessage,
        after: Callable[[int], None] | None = None,
        *,
        drain_at: int | None = None,
    ) -> tuple[Outcome, list[int]]:
        """Carry out an attempt at a node that was not used before; return the steps that it made too."""
        self.used += 1
        engine = Watched(self.engine, after)
        context = replace(self.context, worker_id=f"node-{self.used}")
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
        key = self.method, self.message.options.preset + self.message.options.init
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

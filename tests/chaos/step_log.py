"""Which steps were made, by whom and when: one line each, written by the engines, read after the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time

import structlog

from shared.options import StyleOptions
from worker.engine.state import EngineState
from worker.engine.step import Step
from worker.engine.weights.weights import Weights
from worker.runner import Engine


@dataclass(frozen=True)
class StepMade:
    """One step of one attempt; `run` tells apart the times that an engine was asked to work."""

    at: float
    node: str
    run: str
    job_id: str
    attempt: int
    step: int


class CountingEngine:
    """Another engine, with each of its steps written down; the job's id is taken from the log's context."""

    def __init__(self, engine: Engine, folder: Path, *, node: str) -> None:
        self._engine = engine
        self._node = node
        self._runs = 0
        self._handle = os.open(folder / f"{node}.steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.version = engine.version

    @property
    def weights(self) -> Weights:
        """The weights of the engine within."""
        return self._engine.weights

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield the steps of the engine within."""
        self._runs += 1
        run = f"{os.getpid()}.{self._runs}"
        context = structlog.contextvars.get_contextvars()
        job_id, attempt = context["job_id"], context["attempt"]
        for step in self._engine.stylize(content, style, options, resume=resume):
            line = f"{time():.3f} {self._node} {run} {job_id} {attempt} {step.step}\n"
            os.write(self._handle, line.encode())
            yield step


def read_steps(folder: Path) -> list[StepMade]:
    """Return every step that was made, in the order of time."""
    made = []
    for path in folder.glob("*.steps"):
        for line in path.read_text().splitlines():
            at, node, run, job_id, attempt, step = line.split()
            made.append(StepMade(float(at), node, f"{node}.{run}", job_id, int(attempt), int(step)))
    return sorted(made, key=lambda step: step.at)

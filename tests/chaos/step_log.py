"""Which steps were made, by whom and when: one line each, written by the engines, read after the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import time

import structlog

from shared.options import StyleOptions
from tests.support.engines import EngineAround
from worker.engine.state import EngineState, Step
from worker.runner import Engine


@dataclass
class EngineRun:
    """One time that an engine was asked to work on a job: from when, after which step, and what it made.

    Moments are seconds of a clock that never jumps.
    """

    node: str
    job_id: str
    attempt: int
    began_at: float
    resumed_step: int
    #: Moment by step, in order.
    made: dict[int, float] = field(default_factory=dict)


class CountingEngine(EngineAround):
    """Another engine, with each of its steps written down; the job's id is taken from the log's context."""

    def __init__(self, engine: Engine, folder: Path, *, node: str) -> None:
        super().__init__(engine)
        self._runs = 0
        self._handle = os.open(folder / f"{node}.steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield the steps of the engine within."""
        self._runs += 1
        context = structlog.contextvars.get_contextvars()
        run = f"{os.getpid()}.{self._runs} {context['job_id']} {context['attempt']}"
        self._note(f"{run} {resume.step if resume else 0} began")
        for step in self._engine.stylize(content, style, options, resume=resume):
            self._note(f"{run} {step.step} made")
            yield step

    def _note(self, what: str) -> None:
        os.write(self._handle, f"{time():.3f} {what}\n".encode())


def read_runs(folder: Path) -> list[EngineRun]:
    """Return every run of an engine, in the order in which they began."""
    runs: dict[tuple[str, str], EngineRun] = {}
    for path in folder.glob("*.steps"):
        for line in path.read_text().splitlines():
            at, run, job_id, attempt, step, what = line.split()
            if what == "began":
                runs[path.stem, run] = EngineRun(path.stem, job_id, int(attempt), float(at), int(step))
            else:
                runs[path.stem, run].made.setdefault(int(step), float(at))
    return sorted(runs.values(), key=lambda run: run.began_at)

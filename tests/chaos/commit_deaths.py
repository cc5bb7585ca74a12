"""Deaths of a node's child at a chosen change of the disk, while it stores the end of a job.

What is wanted are files in a folder; whoever comes to the last step of a job takes one. A job dies once in
a round, since one that kills again and again is ended on purpose.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time
from typing import Literal, NoReturn

import pytest
import structlog

from shared.options import StyleOptions
from tests.support.engines import EngineAround
from tests.support.mortal_disk import LEAST_POINTS, Death, when_its_end_is_stored
from worker.engine.state import EngineState, Step
from worker.runner import Engine


@dataclass(frozen=True)
class CommitPoint:
    """A change of the disk, counted from 1, and whether the death is right before or right after it."""

    number: int
    when: Literal["before", "after"]


COMMIT_POINTS = tuple(
    CommitPoint(number, when) for number in range(1, LEAST_POINTS + 1) for when in ("before", "after")
)


@dataclass(frozen=True)
class Taken:
    """A death that was wanted, and who took it over which job; whether it came before the commit was over."""

    at: float
    node: str
    job_id: str
    attempt: int
    came: bool


class CommitDeaths:
    """The deaths of one round, as the harness sees them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)

    def want(self, points: Iterable[CommitPoint]) -> None:
        """Want one death at each of these."""
        for number, point in enumerate(points):
            (self._folder / f"wanted-{number:02d}-{point.number}-{point.when}").touch()

    def taken(self) -> list[Taken]:
        """Return those that were taken, and either came or did not."""
        return [_read_taken(path) for path in self._folder.glob("done-*")]

    def close(self) -> None:
        """Want no more."""
        for path in self._folder.glob("wanted-*"):
            path.unlink(missing_ok=True)


class MortalEngine(EngineAround):
    """Another engine, whose process dies of what it does after the last step, if that is wanted."""

    def __init__(self, engine: Engine, folder: Path, *, node: str) -> None:
        """Watch this process's disk; `folder` is where the rounds of deaths are."""
        super().__init__(engine)
        self._folder = folder
        self._node = node
        self._death = Death(self._die)
        self._death.install(pytest.MonkeyPatch())
        self._words = ""
        self._done = Path()

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield the steps of the engine within."""
        for step in self._engine.stylize(content, style, options, resume=resume):
            point = self._take() if step.step == step.steps else None
            if point is None:
                yield step
                continue
            is_after = point.when == "after"
            arm = partial(self._death.arm, point.number, is_after=is_after)
            try:
                yield when_its_end_is_stored(step, arm)
            finally:
                self._death.disarm()
                self._tell("missed")

    def _take(self) -> CommitPoint | None:
        """Take one of the deaths that are wanted, unless this job has had its own."""
        context = structlog.contextvars.get_contextvars()
        for wanted in sorted(self._folder.glob("*/wanted-*")):
            job = wanted.with_name(f"job-{context['job_id']}")
            if job.exists():
                continue
            *_, number, when = wanted.name.split("-")
            with suppress(FileNotFoundError):  # another node was quicker
                wanted.rename(job)
                self._words = f"{self._node} {context['job_id']} {context['attempt']}"
                self._done = job.with_name(f"done-{context['job_id']}")
                return CommitPoint(int(number), "after" if when == "after" else "before")
        return None

    def _die(self) -> NoReturn:
        self._tell("came")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

    def _tell(self, what: str) -> None:
        partial = self._done.with_name(f"new-{self._done.name}")
        partial.write_text(f"{time():.3f} {self._words} {what}")
        os.rename(partial, self._done)  # noqa: PTH104 - those of pathlib are watched


def _read_taken(path: Path) -> Taken:
    at, node, job_id, attempt, what = path.read_text().split()
    return Taken(float(at), node, job_id, int(attempt), what == "came")

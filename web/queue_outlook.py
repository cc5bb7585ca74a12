"""How long a queued job is likely to wait, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class QueueState:
    """What the whole queue looks like; `workers` is None while Redis cannot be asked."""

    running: int
    workers: int | None
    run_seconds: Sequence[float]


def no_start_reason(workers: int | None, *, draining: int = 0) -> str | None:
    """Return why no job can start, in one sentence; None when one can.

    `workers` is how many take jobs, None while Redis cannot be asked; `draining` how many are about to end.
    """
    if workers is None:
        return "Redis does not answer; the job is kept, and starts when it is back"
    if workers:
        return None
    if draining:
        who = "the only worker" if draining == 1 else "every worker"
        return f"{who} is draining and takes no more jobs; start one with: atelier-worker run"
    return "no worker is connected; start one with: atelier-worker run"


def seconds_ahead(position: int, state: QueueState) -> float | None:
    """Return the seconds until the job at `position` (1 is next) is likely to start; None if unknown.

    Jobs are taken to run as long as the last ones did on average, and the running ones to be half done.
    """
    if not state.workers:
        return None
    ahead = position - 1 - max(0, state.workers - state.running)
    if ahead < 0:
        return 0.0
    if not state.run_seconds:
        return None
    return round(fmean(state.run_seconds) * (ahead + 0.5) / state.workers, 1)


def backlog_seconds(depth: int, state: QueueState) -> float | None:
    """Return the seconds until a job handed in now, behind `depth` others, starts; None if unknown."""
    return seconds_ahead(depth + 1, state)

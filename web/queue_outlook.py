"""How long a queued job is likely to wait."""

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


def no_start_reason(workers: int | None) -> str | None:
    """Return why no job starts at all, if that is so; `workers` is None while Redis cannot be asked."""
    if workers is None:
        return "Redis does not answer; the job is kept, and starts when it is back"
    if workers == 0:
        return "no worker is connected; start one with: atelier-worker run"
    return None


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

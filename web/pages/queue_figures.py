"""The queue in figures. `static/js/queue_figures.js` says the same when the queue changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from web.pages.words import span


@dataclass(frozen=True)
class Figure:
    """One figure: the field of the API that it shows, what people call it, and the words."""

    field: str
    title: str
    words: str


def queue_figures(queue: Mapping[str, Any]) -> list[Figure]:
    """Return the figures of the queue; `queue` is as the API shows it."""
    return [
        Figure("depth", "in line", str(queue["depth"])),
        Figure("running", "running", str(queue["running"])),
        Figure("waiting_for_others", "waiting for others", str(queue["waiting_for_others"])),
        Figure("paused", "paused", str(queue["paused"])),
        Figure("oldest_age_seconds", "longest wait", wait_words(queue["oldest_age_seconds"])),
        Figure("backlog_seconds", "a new job would start", backlog_words(queue["backlog_seconds"])),
    ]


def wait_words(seconds: float | None) -> str:
    """Return how long the first in line has waited."""
    return "–" if seconds is None else span(seconds)


def backlog_words(seconds: float | None) -> str:
    """Return when a job handed in now is likely to start."""
    if seconds is None:
        return "unknown"
    return "at once" if seconds == 0 else f"in {span(seconds)}"

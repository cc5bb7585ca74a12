"""When control made which attempt due again: one line each, by a clock that never jumps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

_RESCUED, _DUE = "rescued", "due"


@dataclass(frozen=True)
class Rescued:
    """A job whose lost attempt was dealt with: it is due again, or over."""

    at: float
    job_id: str
    attempt: int


def install_rescue_log(path: Path) -> None:
    """Let this process write down which jobs the rescuer rescues, and whose message the dispatcher misses."""
    from web.control.dispatcher import Dispatcher
    from web.control.rescuer import Rescuer

    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    rescue_one, mark = Rescuer._rescue_one, Dispatcher._mark

    def note(kind: str, job_id: str, attempt: int) -> None:
        os.write(handle, f"{kind} {time():.3f} {job_id} {attempt}\n".encode())

    def noted(self: Rescuer, seen: Any, *rest: Any) -> bool:
        job_id, attempt = seen.id, seen.attempt
        was_lost = rescue_one(self, seen, *rest)
        if was_lost:
            note(_RESCUED, job_id, attempt)
        return was_lost

    def marked(self: Dispatcher, attempts: Iterable[Any], moment: Any, **more: Any) -> None:
        listed = list(attempts)
        mark(self, listed, moment, **more)
        for one in listed if moment is None else ():
            note(_DUE, one.job_id, one.attempt)

    Rescuer._rescue_one = noted  # type: ignore[method-assign]
    Dispatcher._mark = marked  # type: ignore[method-assign]


def read_rescues(path: Path) -> tuple[list[Rescued], list[Rescued]]:
    """Return what was rescued, and the queued jobs that were made due again; both in the order of time."""
    found: dict[str, list[Rescued]] = {_RESCUED: [], _DUE: []}
    for line in path.read_text().splitlines() if path.exists() else ():
        kind, at, job_id, attempt = line.split()
        found[kind].append(Rescued(float(at), job_id, int(attempt)))
    return found[_RESCUED], found[_DUE]

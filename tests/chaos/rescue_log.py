"""When control rescued which attempt: one line each, by a clock that never jumps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any


@dataclass(frozen=True)
class Rescued:
    """A job whose lost attempt was dealt with: it is due again, or over."""

    at: float
    job_id: str
    attempt: int


def install_rescue_log(path: Path) -> None:
    """Let the rescuer of this process write down what it does."""
    from web.control.rescuer import Rescuer

    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    rescue_one = Rescuer._rescue_one

    def noted(self: Rescuer, seen: Any, *rest: Any) -> bool:
        job_id, attempt = seen.id, seen.attempt
        was_lost = rescue_one(self, seen, *rest)
        if was_lost:
            os.write(handle, f"{time():.3f} {job_id} {attempt}\n".encode())
        return was_lost

    Rescuer._rescue_one = noted  # type: ignore[method-assign]


def read_rescues(path: Path) -> list[Rescued]:
    """Return what was rescued, in the order of time."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [
        Rescued(float(at), job_id, int(attempt)) for at, job_id, attempt in (line.split() for line in lines)
    ]

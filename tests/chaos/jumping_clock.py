"""A wall clock that can be made wrong from outside: its shift, in seconds, is read from a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import shared.clock


def set_shift(path: Path, seconds: float) -> None:
    """Let every clock that reads this file be wrong by so much from now on."""
    partial = path.with_suffix(".new")
    partial.write_text(f"{seconds}")
    partial.replace(path)


def install_clock(path: Path) -> None:
    """Replace `shared.clock.utc_now`; only modules that are imported later see it."""
    shared.clock.utc_now = _shifted(shared.clock.utc_now, path)


def _shifted(clock: Callable[[], datetime], path: Path) -> Callable[[], datetime]:
    def now() -> datetime:
        return clock() + timedelta(seconds=float(path.read_text()))

    return now

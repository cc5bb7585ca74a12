"""A clock that moves only when a test moves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.clock import utc_now


@dataclass
class Clock:
    """Stands still at `start` plus `seconds`."""

    start: datetime = field(default_factory=utc_now)
    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

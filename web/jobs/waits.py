"""How long a job waits: the workers' time left, and those ahead in line, put together without a clock.

Every duration is a range: what is likely, and what few fall below or exceed. Errors of one worker's jobs are
partly alike (the machine is slower than it was measured) and partly independent, so they add up to less than
their sum and more than its square root.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

#: A year: what is longer was not measured.
_LONGEST_RUN_SECONDS = 365 * 86_400
#: How alike the errors of several jobs are: 0 is independent, 1 is all the same.
_ALIKE = 0.5


@dataclass(frozen=True, order=True)
class Range:
    """A duration in seconds: the likely one, and those that one in ten falls below or exceeds."""

    likely: float
    low: float
    high: float

    def rounded(self) -> Range:
        """Return it to a tenth of a second."""
        return Range(round(self.likely, 1), round(self.low, 1), round(self.high, 1))


AT_ONCE = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True, order=True)
class _Sum:
    """Durations one after the other; the errors below and above, summed and summed in squares."""

    likely: float = 0.0
    below: float = 0.0
    below_squared: float = 0.0
    above: float = 0.0
    above_squared: float = 0.0

    def plus(self, one: Range) -> _Sum:
        below, above = one.likely - one.low, one.high - one.likely
        return _Sum(
            self.likely + one.likely,
            self.below + below,
            self.below_squared + below**2,
            self.above + above,
            self.above_squared + above**2,
        )

    def range(self) -> Range:
        low = self.likely - _together(self.below, self.below_squared)
        return Range(self.likely, max(0.0, low), self.likely + _together(self.above, self.above_squared))


def _together(summed: float, squared: float) -> float:
    return math.sqrt((_ALIKE * summed) ** 2 + (1 - _ALIKE**2) * squared)


@dataclass(frozen=True)
class Line:
    """The workers that take jobs, each with the time left of what it does, and the run times of the line.

    `left` has `AT_ONCE` for an idle worker, and None where the time is not known; so has `waiting`.
    """

    left: Sequence[Range | None]
    waiting: Sequence[Range | None]
    #: How many of the front of `waiting` have no place yet: workers that leave still have them.
    unplaced: int = 0

    @property
    def placed(self) -> int:
        """How many have a place: those of a longer line that were read."""
        return len(self.waiting) - self.unplaced

    def wait(self, position: int) -> Range | None:
        """Return when the job at a place (1 is next) starts, from now; None when that is not known.

        A place behind all those that were read is as far behind as the others, on average.
        """
        starts = self._starts[self.unplaced :]
        if position <= len(starts):
            return starts[position - 1]
        if len(starts) < 2 or starts[0] is None or starts[-1] is None:
            return None
        first, last = starts[0], starts[-1]
        share = (position - len(starts)) / (len(starts) - 1)
        return Range(
            last.likely + share * (last.likely - first.likely),
            last.low + share * (last.low - first.low),
            last.high + share * (last.high - first.high),
        ).rounded()

    @cached_property
    def _starts(self) -> list[Range | None]:
        """When each of the line starts, and one more behind it; None from the first unknown on."""
        idle = sum(one == AT_ONCE for one in self.left)
        known = [_Sum().plus(one) for one in self.left if one is not None]
        if len(known) < len(self.left) or not known:
            return [AT_ONCE if number < idle else None for number in range(len(self.waiting) + 1)]
        heapq.heapify(known)
        starts: list[Range | None] = []
        for run in [*self.waiting, AT_ONCE]:
            free = heapq.heappop(known)
            starts.append(free.range().rounded())
            if run is None:
                more = len(self.waiting) + 1 - len(starts)
                return starts + [AT_ONCE if len(starts) + number < idle else None for number in range(more)]
            heapq.heappush(known, free.plus(run))
        return starts


def measured_seconds(metrics: object) -> float | None:
    """Return the run time that a row's metrics tell; None where they tell none, or cannot be read."""
    seconds = metrics.get("run_seconds") if isinstance(metrics, Mapping) else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    return float(seconds) if 0 < seconds < _LONGEST_RUN_SECONDS else None

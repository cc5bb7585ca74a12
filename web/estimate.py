"""How long a job is likely to run: from what the last jobs like it took on this service, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

from shared.picture import scaled_size

#: Runs that an estimate rests on: those nearest in work, the newer ones first.
_NEAREST = 12
#: A run this many times further off in work than the nearest one says nothing beside it.
_FURTHER = 4
#: A step passes through the network forth and back: about three times the one forth that targets take.
_TARGET_SHARE = 1 / 3
#: The share of runs that a range leaves out at either end.
_TAIL = 0.1
#: However alike the runs were, the next one may differ by this much; by more while there are few.
_LEAST_SPREAD = 0.1
_SPREAD_OF_ONE = 0.2


@dataclass(frozen=True)
class Work:
    """What there is to compute: steps on a content of so many pixels, towards a style of so many."""

    steps: int
    content_px: int
    style_px: int

    @classmethod
    def of(cls, steps: int, size: int, *, content: tuple[int, int], style: tuple[int, int]) -> Work:
        """Return the work of so many steps at a size, on pictures of these (width, height) in pixels."""
        return cls(steps, *(math.prod(scaled_size(*picture, size=size)) for picture in (content, style)))

    @property
    def amount(self) -> float:
        """The work in pixels that a step passes through; time grows with it on any one device."""
        return self.steps * self.content_px + _TARGET_SHARE * (self.content_px + self.style_px)


@dataclass(frozen=True)
class MeasuredRun:
    """One run from its first step to its last, on one device, and the seconds it took."""

    work: Work
    device: str | None
    run_seconds: float


@dataclass(frozen=True)
class Estimate:
    """The seconds that a job is likely to run, the range where most jobs end, and from how many runs."""

    seconds: float
    low: float
    high: float
    count: int


def estimate_run(
    work: Work, runs: Sequence[MeasuredRun], *, devices: Collection[str] = ()
) -> Estimate | None:
    """Return how long a job is likely to run; None while nothing is measured.

    Args:
        work: What it has to compute.
        runs: What was measured, newest first.
        devices: Those that are connected now; runs on others count only while there are none on these.
    """
    fitting = [run for run in runs if run.run_seconds > 0 and run.work.amount > 0]
    fitting = [run for run in fitting if run.device in devices] or fitting
    if not fitting:
        return None
    # Sorting is stable: of runs that are equally near, the newer ones stay first.
    ordered = sorted(fitting, key=lambda run: abs(_distance(run.work, work)))
    reach = abs(_distance(ordered[0].work, work)) + math.log(_FURTHER)
    nearest = [run for run in ordered[:_NEAREST] if abs(_distance(run.work, work)) <= reach]
    scaled = [(run.run_seconds, work.amount / run.work.amount) for run in nearest]
    seconds = sorted(took * ratio for took, ratio in scaled)
    # Part of a run's time does not grow with its work: a larger job may well take less than in proportion,
    # and a smaller one more, the further off the more so.
    lows = sorted(took * min(ratio, ratio**0.5) for took, ratio in scaled)
    highs = sorted(took * max(ratio, ratio**0.5) for took, ratio in scaled)
    spread = _LEAST_SPREAD + _SPREAD_OF_ONE / len(nearest)
    low = min(_quantile(lows, _TAIL), median(lows) * (1 - spread))
    high = max(_quantile(highs, 1 - _TAIL), median(highs) * (1 + spread))
    return Estimate(
        seconds=round(median(seconds), 1), low=round(low, 1), high=round(high, 1), count=len(nearest)
    )


def _distance(measured: Work, work: Work) -> float:
    """Return the logarithm of how many times as much there is to do as was measured."""
    return math.log(work.amount / measured.amount)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])

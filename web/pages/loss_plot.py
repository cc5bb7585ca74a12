"""The loss plot: from curves to paths, ticks and rows. Pure.

`static/js/curve.js` draws the same as steps arrive; tests/golden/loss_curve.json holds both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from web.db.models import JobCheckpoint

PARTS = ("total", "content", "style")
#: The drawing, in px of its own coordinates, and where in it the curves lie.
WIDTH_PX, HEIGHT_PX = 360, 220
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 44, 344, 10, 192
#: A loss that starts near 0 must not squeeze all the others into one line.
_MOST_DECADES = 6
_COLUMN_PX = 4
_FEW_POINTS = 150
_MOST_ROWS = 12
_ENOUGH_TICKS = 3

#: step, total, content, style
Point = Sequence[float]


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, in px, and its words."""

    at_px: float
    label: str


@dataclass(frozen=True)
class LossPlot:
    """What is drawn: a path for each part, and both axes."""

    paths: Mapping[str, str]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    last: Point | None


def merge_curves(checkpoints: Iterable[JobCheckpoint]) -> list[Point]:
    """Return a point for each step that is known, by step; what a later checkpoint says of a step counts."""
    points = {int(point[0]): point for checkpoint in checkpoints for point in _points(checkpoint)}
    return [points[step] for step in sorted(points)]


def plot_losses(points: Sequence[Point], *, steps: int) -> LossPlot:
    """Return the plot of a job of so many steps: the step from 0 linearly, losses logarithmically.

    A loss that is 0 or no number has no place on a logarithmic axis: its curve has a gap there.
    """
    low, high = loss_range(points)
    paths = {
        part: _path([(x_px(point[0], steps), y_px(point[place], low, high)) for point in points])
        for place, part in enumerate(PARTS, start=1)
    }
    return LossPlot(
        paths=paths,
        x_ticks=[Tick(x_px(step, steps), str(step)) for step in step_ticks(steps)],
        y_ticks=[
            Tick(y_px(loss, low, high) or 0, tick_words(loss))
            for loss in (loss_ticks(low, high) if points else ())
        ],
        last=points[-1] if points else None,
    )


def table_rows(points: Sequence[Point]) -> list[tuple[int, list[str]]]:
    """Return the losses at up to 12 steps in words, the first and the last among them."""
    gap = max(1, math.ceil((len(points) - 1) / (_MOST_ROWS - 1)))
    chosen = [*points[:-1:gap], *points[-1:]]
    return [(int(point[0]), [loss_words(loss) for loss in point[1:4]]) for point in chosen]


def loss_range(points: Iterable[Point]) -> tuple[float, float]:
    """Return the least and the largest loss to show: at most six decades, and never only one value."""
    losses = [loss for point in points for loss in point[1:4] if _is_shown(loss)]
    if not losses:
        return 0.1, 1.0
    high = max(losses)
    low = max(min(losses), high / 10**_MOST_DECADES)
    return (low, high) if high / low > 1.5 else (low / 1.5, high * 1.5)


def px(place: float) -> str:
    """Return a place in px with one digit; halves go up, as in scripts."""
    return f"{math.floor(place * 10 + 0.5) / 10:.1f}"


def x_px(step: float, steps: int) -> float:
    """Return where a step lies, from left to right."""
    return LEFT_PX + (RIGHT_PX - LEFT_PX) * step / steps


def y_px(loss: float, low: float, high: float) -> float | None:
    """Return where a loss lies, from top to bottom; None if nowhere."""
    if not _is_shown(loss):
        return None
    share = math.log(max(loss, low) / low) / math.log(high / low)
    return BOTTOM_PX - (BOTTOM_PX - TOP_PX) * share


def step_ticks(steps: int) -> list[int]:
    """Return up to six round steps from 0 on."""
    return list(range(0, steps + 1, max(1, round(_round_gap(steps)))))


def loss_ticks(low: float, high: float) -> list[float]:
    """Return round losses of a range: whole decades, or 1, 2, 5 of each, or evenly; the first with enough."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    whole = [10.0**exponent for exponent in exponents]
    halves = [digit * loss for loss in whole for digit in (1, 2, 5)]
    for ticks in (whole, halves):
        inside = [loss for loss in ticks if low <= loss <= high]
        if len(inside) >= _ENOUGH_TICKS:
            return inside
    gap = _round_gap(high - low)
    return [place * gap for place in range(math.ceil(low / gap), math.floor(high / gap) + 1)]


def loss_words(loss: float | None) -> str:
    """Return a loss in three digits: '0.172', '12.3', '1.20e-5', and '–' for none."""
    if loss is None or not math.isfinite(loss):
        return "–"
    if loss == 0:
        return "0"
    exponent = math.floor(math.log10(abs(loss)))
    if -3 <= exponent < 4:
        return f"{loss:.{max(0, 2 - exponent)}f}"
    return f"{loss / 10.0**exponent:.2f}e{exponent}"


def tick_words(loss: float) -> str:
    """Return a round loss: '0.02', '500', '1e-5'."""
    exponent = math.floor(math.log10(loss) + 1e-9)
    if -3 <= exponent < 4:
        return f"{loss:.4g}"
    return f"{loss / 10.0**exponent:.3g}e{exponent}"


def _round_gap(width: float) -> float:
    """Return the least of 1, 2, 5, 10, ... or 0.5, 0.2, ... that goes at most five times into a width."""
    exponent = math.floor(math.log10(width)) - 1
    gaps = [digit * 10.0 ** (exponent + more) for more in range(3) for digit in (1, 2, 5)]
    return next(gap for gap in gaps if width / gap <= 5 + 1e-9)


def _path(places: Iterable[tuple[float, float | None]]) -> str:
    """Return an SVG path; of very many points, the lowest and the highest of each 4 px."""
    words: list[str] = []
    joined = False
    for x, y in _thin(list(places)):
        if y is None:
            joined = False
            continue
        words.append(f"{'L' if joined else 'M'}{px(x)} {px(y)}")
        joined = True
    return "".join(words)


def _thin(places: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    if len(places) <= _FEW_POINTS:
        return places
    columns: dict[int, list[tuple[float, float]]] = {}
    for x, y in places:
        if y is not None:
            columns.setdefault(int(x / _COLUMN_PX), []).append((x, y))
    thin: list[tuple[float, float | None]] = []
    for column in columns.values():
        ends = {min(column, key=lambda place: place[1]), max(column, key=lambda place: place[1])}
        thin += sorted(ends)
    return thin


def _points(checkpoint: JobCheckpoint) -> Sequence[Point]:
    # A worker of the version before tells the losses of the checkpoint's own step only.
    own: Any = [checkpoint.step, *(checkpoint.losses.get(part) for part in PARTS)]
    return checkpoint.curve or ([own] if None not in own else [])


def _is_shown(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss) and loss > 0

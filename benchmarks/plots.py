"""Plots as SVG, for documents: a line or points over numbers, with axes that say what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _BELOW, _ABOVE, _RIGHT = 640, 240, 56, 40, 28, 12
_TICKS = 5


@dataclass(frozen=True)
class Plot:
    """What is drawn: a title, the names of both axes with their units, and (x, y) in the order of x.

    Without `low` and `high` the y axis goes from 0 to the largest value; at each of `marks` a line goes
    across.
    """

    title: str
    x_name: str
    y_name: str
    points: Sequence[tuple[float, float]]
    low: float | None = None
    high: float | None = None
    marks: Sequence[float] = ()
    has_points: bool = False


def draw(plot: Plot) -> str:
    """Return a plot as an SVG document that needs no styles or fonts of others."""
    largest_x = max((x for x, _ in plot.points), default=1.0) or 1.0
    low = 0.0 if plot.low is None else plot.low
    high = plot.high if plot.high is not None else max((y for _, y in plot.points), default=1.0) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / largest_x
        up = (_HEIGHT - _ABOVE - _BELOW) * (min(max(y, low), high) - low) / (high - low)
        return round(across, 1), round(_HEIGHT - _BELOW - up, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        '<g font-family="sans-serif" font-size="11" fill="#555">',
        f"<title>{escape(plot.title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="16" font-size="13" fill="#222">{escape(plot.title)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{escape(plot.x_name)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="16" text-anchor="end">{escape(plot.y_name)}</text>',
    ]
    for value in _ticks(low, high):
        x, y = place(0, value)
        parts.append(f'<path d="M{x} {y}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    for value in _ticks(0, largest_x):
        x, y = place(value, low)
        parts.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{value:g}</text>')
    for value in plot.marks:
        x, y = place(0, value)
        parts.append(f'<path d="M{x} {y}H{_WIDTH - _RIGHT}" stroke="#b00" stroke-dasharray="4 4"/>')
    placed = [place(x, y) for x, y in plot.points]
    if plot.has_points:
        # A place that many share is drawn once.
        dots = "".join(f"M{x} {y}h0" for x, y in sorted(set(placed)))
        parts.append(f'<path d="{dots}" stroke="#06c" stroke-width="3" stroke-linecap="round" fill="none"/>')
    elif placed:
        line = "L".join(f"{x} {y}" for x, y in placed)
        parts.append(f'<path d="M{line}" stroke="#06c" stroke-width="1.5" fill="none"/>')
    return "\n".join([*parts, "</g></svg>", ""])


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers from `low` to `high`, about five of them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]

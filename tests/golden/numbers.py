"""The numbers that server and scripts both put into words and curves, and what becomes of them.

``words.json`` is written by hand. ``python -m tests.golden.numbers`` writes ``loss_curve.json`` anew, as the
server draws it; the curves are made up here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from web.pages.loss_plot import loss_words, plot_losses, px, tick_words

_FOLDER = Path(__file__).parent
_CURVE = _FOLDER / "loss_curve.json"
Points = list[list[float | None]]


def words() -> dict[str, list[tuple[float | None, str]]]:
    """Return numbers with their words: spans of time, ages and sizes of files."""
    return {
        kind: [(number, text) for number, text in pairs]
        for kind, pairs in json.loads((_FOLDER / "words.json").read_text()).items()
    }


def curves() -> dict[str, Any]:
    """Return curves with what is drawn of them, and losses with their words."""
    told: dict[str, Any] = json.loads(_CURVE.read_text())
    return told


def drawn(points: Points, steps: int) -> dict[str, Any]:
    """Return what the server draws of a curve, as the golden file has it."""
    plot = plot_losses(points, steps=steps)  # type: ignore[arg-type]  # the API tells None of what is no number
    return {
        "paths": dict(plot.paths),
        "x_ticks": [[px(tick.at_px), tick.label] for tick in plot.x_ticks],
        "y_ticks": [[px(tick.at_px), tick.label] for tick in plot.y_ticks],
    }


def _made_up() -> dict[str, tuple[Points, int]]:
    def falling(step: int) -> list[float | None]:
        content, style = 4e5 * (1 - 0.8 * 0.95**step), 9e7 / (1 + step) ** 1.3
        return [step, *(float(f"{loss:.4g}") for loss in (content + style, content, style))]

    jagged: Points = [[step, 5 + step % 7, 1 + step % 5, 4 + step % 3] for step in range(1, 401)]
    jagged[233][1] = 50.0
    return {
        "none yet": ([], 40),
        "one point": ([[1, 3.0, 1.0, 2.0]], 1),
        "falls as real ones do": ([falling(step) for step in range(1, 41)], 100),
        "gaps where there is no logarithm": (
            [[1, 4.0, 2.0, 2.0], [2, 0.0, None, 2.0], [3, -1.0, 2.0, 2.0], [4, 2.0, 1.5, 0.5]],
            7,
        ),
        "starts near 0": ([[1, 1.0, 1e-30, 1.0], [2, 0.9, 0.02, 0.8], [3, 0.8, 0.1, 0.7]], 3),
        "equal losses": ([[1, 2.0, 2.0, 2.0], [2, 2.0, 2.0, 2.0]], 250),
        "within a decade": ([[5, 196.0, 123.0, 140.0], [10, 150.0, 130.0, 124.0]], 20),
        "very many points": (jagged, 400),
    }


def main() -> None:
    made = [
        {"name": name, "steps": steps, "points": points, **drawn(points, steps)}
        for name, (points, steps) in _made_up().items()
    ]
    losses = (0.17233, 12.345, 12.25, 12.75, 1.005, 1234.5, 1235.5, 0.00123, 12345.0, 0.0000123, 0, None)
    ticks = (0.05, 1.0, 500.0, 1e6, 2e-5, 0.015)
    lists = {
        "curves": made,
        "losses": [[loss, loss_words(loss)] for loss in losses],
        "ticks": [[loss, tick_words(loss)] for loss in ticks],
    }
    lines = ",\n".join(
        f'"{kind}": [\n' + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]"
        for kind, entries in lists.items()
    )
    _CURVE.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()

"""The loss plot: pure, from curves to paths, ticks and rows."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

import pytest

from tests.golden.numbers import curves, drawn
from web.db.models import JobCheckpoint
from web.pages.loss_plot import (
    BOTTOM_PX,
    LEFT_PX,
    RIGHT_PX,
    TOP_PX,
    loss_range,
    loss_ticks,
    loss_words,
    merge_curves,
    plot_losses,
    step_ticks,
    table_rows,
    tick_words,
    y_px,
)


def checkpoint(step: int, curve: list[list[float]], **losses: float) -> JobCheckpoint:
    given = losses or {"total": 3.0, "content": 1.0, "style": 2.0}
    return JobCheckpoint(
        job_id="j", step=step, attempt=1, key="", picture_key="", sha256="", losses=given, curve=curve,
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
    )  # fmt: skip


def places(path: str) -> list[tuple[str, float, float]]:
    return [(word, float(x), float(y)) for word, x, y in re.findall(r"([ML])([\d.]+) ([\d.]+)", path)]


def test_curves_of_all_checkpoints_are_one_and_the_later_counts():
    first = checkpoint(2, [[1, 9.0, 4.0, 5.0], [2, 8.0, 4.0, 4.0]])
    second = checkpoint(4, [[2, 7.0, 3.0, 4.0], [3, 6.0, 3.0, 3.0], [4, 5.0, 3.0, 2.0]])
    assert [(point[0], point[1]) for point in merge_curves([first, second])] == [
        (1, 9.0), (2, 7.0), (3, 6.0), (4, 5.0),
    ]  # fmt: skip


def test_a_checkpoint_without_a_curve_tells_its_own_losses():
    assert merge_curves([checkpoint(5, [])]) == [[5, 3.0, 1.0, 2.0]]


def test_the_axes_are_linear_in_steps_and_logarithmic_in_losses():
    points = [[0, 100.0, 100.0, 100.0], [50, 10.0, 10.0, 10.0], [100, 1.0, 1.0, 1.0]]
    (_, x0, y0), (_, x1, y1), (_, x2, y2) = places(plot_losses(points, steps=100).paths["total"])
    assert (x0, x2) == (LEFT_PX, RIGHT_PX)
    assert (y0, y2) == (TOP_PX, BOTTOM_PX)
    assert x1 == pytest.approx((LEFT_PX + RIGHT_PX) / 2)
    assert y1 == pytest.approx((TOP_PX + BOTTOM_PX) / 2)


@pytest.mark.parametrize("curve", curves()["curves"], ids=lambda curve: curve["name"])
def test_the_golden_file_holds_what_is_drawn(curve: dict):
    """The scripts are held to the same file, in tests/browser/test_same_numbers.py."""
    given = {name: curve[name] for name in ("points", "steps")}
    assert {**given, "name": curve["name"], **drawn(**given)} == curve


@pytest.mark.parametrize("kind", ["losses", "ticks"])
def test_the_golden_file_holds_what_is_said(kind: str):
    say = {"losses": loss_words, "ticks": tick_words}[kind]
    assert [[loss, say(loss)] for loss, _ in curves()[kind]] == curves()[kind]


@pytest.mark.parametrize("loss", [0.0, -1.0, math.inf, math.nan])
def test_what_has_no_logarithm_is_a_gap(loss: float):
    points = [[1, 4.0, 2.0, 2.0], [2, loss, 2.0, 2.0], [3, 3.0, 2.0, 2.0], [4, 2.0, 2.0, 2.0]]
    plot = plot_losses(points, steps=4)
    assert [word for word, _, _ in places(plot.paths["total"])] == ["M", "M", "L"]
    assert [word for word, _, _ in places(plot.paths["style"])] == ["M", "L", "L", "L"]
    assert "nan" not in str(plot)


def test_a_loss_that_starts_near_0_does_not_squeeze_the_others():
    low, high = loss_range([[1, 1.0, 1e-30, 1.0]])
    assert (low, high) == (1e-6, 1.0)
    assert y_px(1e-30, low, high) == BOTTOM_PX


def test_equal_losses_and_none_have_a_range_too():
    low, high = loss_range([[1, 2.0, 2.0, 2.0]])
    assert low < 2.0 < high
    assert loss_range([]) == (0.1, 1.0)
    empty = plot_losses([], steps=10)
    assert (set(empty.paths.values()), empty.last) == ({""}, None)


@pytest.mark.parametrize(
    ("steps", "ticks"),
    [
        (1, [0, 1]), (7, [0, 2, 4, 6]), (40, [0, 10, 20, 30, 40]), (100, [0, 20, 40, 60, 80, 100]),
        (2000, [0, 500, 1000, 1500, 2000]),
    ],
)  # fmt: skip
def test_steps_have_round_ticks(steps: int, ticks: list[int]):
    assert step_ticks(steps) == ticks


def test_losses_have_decades_as_ticks_or_what_lies_between():
    assert loss_ticks(0.5, 2000.0) == [1, 10, 100, 1000]
    assert loss_ticks(0.03, 1.2) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1])
    assert loss_ticks(123.0, 196.0) == pytest.approx([140, 160, 180])


@pytest.mark.parametrize("low", [1e-9, 3e-4, 0.02, 0.7, 9.99, 123.0, 8e7])
@pytest.mark.parametrize("ratio", [1.6, 9.9, 10.0, 500.0, 1e6])
def test_every_range_has_some_ticks_and_all_lie_inside(low: float, ratio: float):
    plot = plot_losses([[1, low * ratio, low, low]], steps=1)
    assert 1 <= len(plot.y_ticks) <= 9
    assert all(TOP_PX - 0.1 <= tick.at_px <= BOTTOM_PX + 0.1 for tick in plot.y_ticks)


def test_very_many_points_keep_their_peaks_in_a_short_path():
    points = [[step, 1.0, 1.0, 1.0] for step in range(1, 2001)]
    points[1234][1] = 50.0
    path = plot_losses(points, steps=2000).paths["total"]
    assert len(path) < 4_000
    assert min(y for _, _, y in places(path)) == TOP_PX
    assert [x for _, x, _ in places(path)] == sorted(x for _, x, _ in places(path))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (0.17233, "0.172"), (12.345, "12.3"), (1234.5, "1234"), (0.00123, "0.00123"), (12345.0, "1.23e4"),
        (0.0000123, "1.23e-5"), (0, "0"), (None, "–"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_losses_in_words(loss: float | None, words: str):
    assert loss_words(loss) == words


@pytest.mark.parametrize(
    ("loss", "words"),
    [(0.05, "0.05"), (1.0, "1"), (500.0, "500"), (1e6, "1e6"), (2e-5, "2e-5"), (0.015, "0.015")],
)
def test_ticks_in_words(loss: float, words: str):
    assert tick_words(loss) == words


def test_the_table_has_few_rows_with_both_ends():
    points = [[step, 3.0, 1.0, 2.0] for step in range(1, 501)]
    rows = table_rows(points)
    assert (rows[0][0], rows[-1][0]) == (1, 500)
    assert len(rows) <= 13
    assert rows[0][1] == ["3.00", "1.00", "2.00"]
    assert table_rows([]) == []
    assert [step for step, _ in table_rows(points[:3])] == [1, 2, 3]

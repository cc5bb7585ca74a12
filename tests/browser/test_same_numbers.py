"""The scripts' curves and words are the server's: both are held to the same golden files."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.golden.numbers import curves, words

_DRAW = """async ({ points, steps }) => {
  const { BOX, PARTS, lossRange, lossTicks, pathOf, px, stepTicks, tickWords, xOf, yOf } =
    await import("/static/js/curve.js");
  const range = lossRange(points);
  return {
    box: BOX,
    paths: Object.fromEntries(PARTS.map((part, place) => [part, pathOf(points, place + 1, steps, range)])),
    x_ticks: stepTicks(steps).map((step) => [px(xOf(step, steps)), String(step)]),
    y_ticks: (points.length ? lossTicks(range) : []).map((loss) => [px(yOf(loss, range)), tickWords(loss)]),
  };
}"""
_SAY = """async ([module, name, numbers]) => {
  const say = (await import(`/static/js/${module}.js`))[name];
  return numbers.map((number) => [number, say(number)]);
}"""
_AGES = """async (numbers) => {
  const { ago } = await import("/static/js/words.js");
  const now = Date.parse("2026-11-24T12:00:00.000Z");
  return numbers.map((seconds) => [seconds, ago(new Date(now - seconds * 1000).toISOString(), now)]);
}"""


@pytest.mark.parametrize("curve", curves()["curves"], ids=lambda curve: curve["name"])
def test_a_curve(page: Page, curve: dict[str, Any]):
    drawn = page.evaluate(_DRAW, curve)
    for part in ("paths", "x_ticks", "y_ticks"):
        assert drawn[part] == curve[part], part


@pytest.mark.parametrize(
    ("module", "name", "pairs"),
    [
        ("curve", "lossWords", curves()["losses"]),
        ("curve", "tickWords", curves()["ticks"]),
        ("words", "span", words()["spans"]),
        ("words", "fileSize", words()["sizes"]),
        ("words", "sentence", words()["sentences"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_words(page: Page, module: str, name: str, pairs: list[Any]):
    told = page.evaluate(_SAY, [module, name, [number for number, _ in pairs]])
    assert told == [list(pair) for pair in pairs]


def test_what_is_said_of_a_fault(page: Page):
    pairs = words()["faults"]
    say = """async (faults) => {
      const { said } = await import("/static/js/words.js");
      return faults.map((fault) => [fault, said(...fault)]);
    }"""
    assert page.evaluate(say, [fault for fault, _ in pairs]) == [list(pair) for pair in pairs]


def test_ages(page: Page):
    pairs = words()["ages"]
    assert page.evaluate(_AGES, [seconds for seconds, _ in pairs]) == [list(pair) for pair in pairs]

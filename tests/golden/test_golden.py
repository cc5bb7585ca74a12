"""What the program shows of itself is what was frozen; `python -m tests.golden.freeze` freezes it anew."""

from __future__ import annotations

from pathlib import Path

from tests.golden.freeze import frozen
from tests.golden.shown import all_shown


def test_the_program_shows_itself_as_it_was_frozen(tmp_path: Path) -> None:
    shown, expected = all_shown(tmp_path), frozen()
    assert sorted(shown) == sorted(expected)
    for name in expected:
        assert shown[name] == expected[name], name

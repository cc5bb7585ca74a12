"""How the command line writes durations."""

from __future__ import annotations

import pytest

from shared.terminal import format_took


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-0.1, "0.0 s"),
        (0.26, "0.3 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_what_takes_little_is_told_in_tenths(seconds: float, words: str):
    assert format_took(seconds) == words

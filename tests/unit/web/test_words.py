"""Numbers in people's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from web.words import ago, file_size, span

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "unknown"), (-3, "0 s"), (0.4, "0 s"), (12.5, "13 s"), (59.4, "59 s"), (59.6, "1 min"),
        (200, "3 min 20 s"),
        (600, "10 min"), (3599, "59 min"), (3600, "1 h"), (7500, "2 h 5 min"), (86400, "1 d"),
        (273600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_spans(seconds: float | None, words: str):
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (9, "just now"),
        (10, "10 s ago"),
        (60, "1 min ago"),
        (7199, "1 h ago"),
        (172800, "2 d ago"),
    ],
)
def test_how_long_ago(seconds: float, words: str):
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1_440_000, "1.4 MB"),
        (999_999, "1.0 MB"),
        (250e6, "250 MB"),
    ],
)
def test_file_sizes(size_bytes: float, words: str):
    assert file_size(size_bytes) == words

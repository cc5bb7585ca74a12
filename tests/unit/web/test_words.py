"""Numbers in people's words; tests/browser/test_same_numbers.py holds the scripts to the same golden file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.golden.numbers import words
from web.words import ago, file_size, said, sentence, span

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(("seconds", "expected"), words()["spans"])
def test_spans(seconds: float | None, expected: str):
    assert span(seconds) == expected


@pytest.mark.parametrize(("text", "expected"), words()["sentences"])
def test_sentences(text: str, expected: str):
    assert sentence(text) == expected


@pytest.mark.parametrize(("fault", "expected"), words()["faults"])
def test_what_is_said_of_a_fault(fault: list[str], expected: str):
    assert said(*fault) == expected


@pytest.mark.parametrize(("seconds", "expected"), words()["ages"])
def test_how_long_ago(seconds: float, expected: str):
    assert ago(NOW - timedelta(seconds=seconds), NOW) == expected


@pytest.mark.parametrize(("size_bytes", "expected"), words()["sizes"])
def test_file_sizes(size_bytes: float, expected: str):
    assert file_size(size_bytes) == expected

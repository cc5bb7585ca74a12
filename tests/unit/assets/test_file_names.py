"""Names of uploaded files, and which text may be shown."""

from __future__ import annotations

import pytest

from web.assets.uploads import clean_filename, is_printable


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("harbour.jpg", "harbour.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\a b.png", "a b.png"),
        ("/", "content"),
        ("..", "content"),
        ("a/..", "content"),
        ("", "content"),
        (None, "content"),
        (" \t ", "content"),
        ("a\x00\x1b[31mb\u202e.png", "a[31mb.png"),
        ("\ud800.png", ".png"),
        ("x" * 300, "x" * 200),
        ("Häfen ☂.png", "Häfen ☂.png"),
    ],
)
def test_clean_filename(given, shown):
    assert clean_filename(given, default="content") == shown


def test_printable():
    assert is_printable("Häfen am Meer ☂ 海")
    for text in ("\n", "\x7f", "\u200b", "\u202e", "\ud800", "\ue000"):
        assert not is_printable(text)

"""Names of uploaded files."""

from __future__ import annotations

import pytest

from web.assets.uploads import clean_filename


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
        ("👩\u200d🎨.png", "👩\u200d🎨.png"),
        ("می\u200cخواهم.png", "می\u200cخواهم.png"),
    ],
)
def test_clean_filename(given, shown):
    assert clean_filename(given, default="content") == shown

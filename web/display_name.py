"""Names that people gave: cleaned for showing, and never used as a path."""

from __future__ import annotations

import unicodedata

MAX_NAME_CHARS = 200


def clean_filename(filename: str | None, *, default: str) -> str:
    """Return the last part of a file's name without control characters, cut to 200 characters."""
    last = (filename or "").replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(letter for letter in last if is_printable(letter)).strip()
    if shown in ("", ".", ".."):
        return default
    return shown[:MAX_NAME_CHARS]


def is_printable(text: str) -> bool:
    """Whether there is no control, format, private or surrogate character in it."""
    return not any(unicodedata.category(letter).startswith("C") for letter in text)

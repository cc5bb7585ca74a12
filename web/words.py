"""Numbers in people's words: spans of time, ages, sizes of files.

`static/js/words.js` says the same of what changes in an open page; tests/golden/words.json holds both.
"""

from __future__ import annotations

from datetime import datetime
from math import floor

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def span(seconds: float | None) -> str:
    """Return a span of time as people say it: '4 s', '3 min 20 s', '2 h 5 min', '3 d 4 h'."""
    if seconds is None:
        return "unknown"
    whole = max(0, floor(seconds + 0.5))  # not round(): halves go up, as they do in JavaScript
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def sentence(words: str) -> str:
    """Return words as a sentence, with a capital letter and a stop; nothing stays nothing."""
    words = words.strip()
    return f"{words[:1].upper()}{words[1:]}" + ("" if not words or words[-1] in ".!?…" else ".")


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was, in its largest unit: 'just now', '5 min ago', '2 d ago'."""
    seconds = (now - moment).total_seconds()
    if seconds < 10:
        return "just now"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"


def file_size(size_bytes: float) -> str:
    """Return a file's size in decimal units: '812 bytes', '1.4 MB'."""
    unit = 0
    while size_bytes >= 999.5 and unit < len(_UNITS) - 1:
        size_bytes /= 1000
        unit += 1
    return (
        f"{size_bytes:.0f} {_UNITS[unit]}"
        if unit == 0 or size_bytes >= 99.5
        else f"{size_bytes:.1f} {_UNITS[unit]}"
    )

"""Numbers in people's words: spans of time, ages, sizes of files.

`static/js/words.js` says the same of what changes in an open page; tests/golden/words.json holds both.
"""

from __future__ import annotations

import re
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


def took(seconds: float) -> str:
    """Return how long something took: as `span`, below ten seconds in tenths: '0.3 s'."""
    return f"{max(0.0, seconds):.1f} s" if seconds < 9.95 else span(seconds)


def sentence(words: str) -> str:
    """Return words as a sentence, with a capital letter and a stop; nothing stays nothing."""
    words = words.strip()
    return f"{words[:1].upper()}{words[1:]}" + ("" if not words or words[-1] in ".!?…" else ".")


def said(detail: str, pointer: str = "", label: str = "") -> str:
    """Return the words of a fault as a sentence for people.

    Messages begin with the field's name as programs know it, which its pointer (RFC 6901) ends with; people
    know the field by its `label`.
    """
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    if parts[:1] == ["labels"] and len(parts) == 2:
        label = f"The label '{parts[1]}'"
    name = ".".join(parts[1:] if parts[:1] == ["options"] and len(parts) > 1 else parts)
    if name and label and re.match(rf"{re.escape(name)}(?![\w-])", detail):
        detail = label + detail[len(name) :]
    return sentence(detail)


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

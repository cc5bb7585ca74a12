"""The header ``Prefer: wait=N`` of RFC 7240."""

from __future__ import annotations

import re

MAX_WAIT_SECONDS = 60
_WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.IGNORECASE)


def wait_seconds(header: str | None) -> int:
    """Return how long a client wants to wait, 0 to 60 s; a preference that is not understood is none."""
    for part in (header or "").split(","):
        match = _WAIT.fullmatch(part)
        if match:
            return min(int(match[1]), MAX_WAIT_SECONDS)
    return 0

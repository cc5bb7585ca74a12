"""Page tokens: where a list goes on, and for which filters."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from shared.errors import MalformedRequest
from web.repository.jobs import JobFilter


def make_token(last_id: str, only: JobFilter) -> str:
    """Return the token of the page after the job `last_id`."""
    text = json.dumps({"before": last_id, "filters": _digest(only)})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, only: JobFilter) -> str:
    """Return the id of the job that the page before ended with.

    Raises:
        MalformedRequest: when it is not one of ours, or was made for other filters.
    """
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        before, filters = str(values["before"]), values["filters"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise MalformedRequest("page_token is damaged; take it from next_page_token as it is") from None
    if filters != _digest(only):
        raise MalformedRequest("page_token belongs to a list with other filters; begin again without it")
    return before


def _digest(only: JobFilter) -> str:
    values = {
        "statuses": sorted(only.statuses),
        "labels": sorted(only.labels.items()),
        "batch_id": only.batch_id,
        "created_after": only.created_after.isoformat() if only.created_after else None,
        "name": only.name.lower(),
    }
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]

"""The clock: the only place that reads the current time; other code gets `now` as an argument."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the time now, in UTC, aware."""
    return datetime.now(UTC)


def to_rfc3339(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC with milliseconds, as in ``2026-11-23T08:47:41.120Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> datetime:
    """Return the moment that `to_rfc3339` wrote; ValueError for other text."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment.astimezone(UTC)

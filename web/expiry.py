"""Expiry: when retention may remove a job."""

from __future__ import annotations

from datetime import datetime, timedelta


def expires_at(completed_at: datetime | None, *, retention_days: float) -> datetime | None:
    """Return the moment from which on a job may be removed; None while it is not final, or kept for ever.

    `completed_at` is when it became final; `retention_days` is 0 or more, and 0 is for ever.
    """
    if completed_at is None or not retention_days:
        return None
    try:
        return completed_at + timedelta(days=retention_days)
    except OverflowError:
        return None  # after the year 9999

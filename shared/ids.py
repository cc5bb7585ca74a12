"""Identifiers: UUIDs of version 7, so that ids sort by the time they were made and cannot be guessed."""

from __future__ import annotations

import uuid6


def new_id() -> str:
    """Return a new id, 36 characters."""
    return str(uuid6.uuid7())

"""Who is asking. One place, so that tokens can come later without touching a view."""

from __future__ import annotations

LOCAL_CALLER = "local"


def current_caller() -> str:
    """Return the caller of the request being answered; for now everyone is the local one."""
    return LOCAL_CALLER

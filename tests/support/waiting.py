"""Waiting for a condition that nothing announces."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found], *, seconds: float, what: str = "what the test waits for"
) -> Found:
    """Ask until the answer is true, and return it.

    Raises:
        TimeoutError: when it does not come true in time; `what` says in its text what was awaited.
    """
    deadline = monotonic() + seconds
    while not (found := condition()):
        if monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        sleep(0.02)
    return found

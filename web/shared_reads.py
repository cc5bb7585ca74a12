"""Reads that many ask for at once: one carries it out, the others get what it has read."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

#: How old something may be for whoever does not say how old.
_STALE_SECONDS = 1.0
#: What nobody has asked for in so long is forgotten.
_KEPT_SECONDS = 5.0
_T = TypeVar("_T")


@dataclass
class _Read:
    """What was read last under a key; `begun_at` is when that reading began."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    begun_at: float = -math.inf
    #: What was begun to be read before is out of date.
    changed_at: float = -math.inf
    value: Any = None


class SharedReads:
    """What was read a moment ago, by key; for any number of threads.

    Who asks says how old what was read may be: a reading that began later is enough, whoever asked for it. So
    two hundred who hear of one change read it once, and none of them gets what was so before the change.
    """

    def __init__(
        self, *, stale_seconds: float = _STALE_SECONDS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        #: How old something may be for whoever does not say how old; 0 reads it anew each time.
        self.stale_seconds = stale_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._reads: dict[Hashable, _Read] = {}

    def get(self, key: Hashable, read: Callable[[], _T], *, since: float | None = None) -> _T:
        """Return what `read` returns, or returned when it was called for this key not long ago.

        Args:
            key: What is read.
            read: Reads it. What it raises is raised, and nothing is kept.
            since: A moment of `time.monotonic`; what was begun to be read before is read again.
        """
        with self._lock:
            self._forget()
            entry = self._reads.setdefault(key, _Read())
            entry.users += 1
        try:
            with entry.lock:
                now = self._monotonic()
                least = now - self.stale_seconds if since is None else since
                if entry.begun_at <= max(least, entry.changed_at):
                    found = read()
                    entry.value, entry.begun_at = found, now
                known: _T = entry.value
                return known
        finally:
            with self._lock:
                entry.users -= 1

    def forget(self, key: Hashable) -> None:
        """Have it read again by whoever asks from now on: what it tells of was changed."""
        with self._lock:
            if (entry := self._reads.get(key)) is not None:
                entry.changed_at = self._monotonic()

    def __len__(self) -> int:
        """Return how much is kept."""
        return len(self._reads)

    def _forget(self) -> None:
        limit = self._monotonic() - _KEPT_SECONDS
        for key in [key for key, one in self._reads.items() if not one.users and one.begun_at < limit]:
            del self._reads[key]

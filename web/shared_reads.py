"""What many ask for: read by one for all who ask at once, and kept for those who ask again."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

#: How old something may be for whoever does not say how old.
_STALE_SECONDS = 1.0
#: What nobody has asked for in so long is forgotten.
_KEPT_SECONDS = 5.0
#: How much is kept for those who ask again.
_MOST_BYTES = 32_000_000
#: Who waits for one of these may wait for the making of something else: rarely, with so many.
_TURNS = 64
_T = TypeVar("_T")


class _Found(NamedTuple):
    """What was read, and when that reading began; never changed, so that any thread may look at it."""

    begun_at: float
    value: Any


_NOTHING = _Found(-math.inf, None)


@dataclass
class _Read:
    """What was read last under a key."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    found: _Found = _NOTHING
    #: What was begun to be read before is out of date.
    changed_at: float = -math.inf

    def newer_than(self, moment: float) -> _Found | None:
        """Return what was begun to be read after a moment, and after the last change."""
        found = self.found
        return found if found.begun_at > max(moment, self.changed_at) else None


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
        self._forget_at = -math.inf

    def get(self, key: Hashable, read: Callable[[], _T], *, since: float | None = None) -> _T:
        """Return what `read` returns, or returned when it was called for this key not long ago.

        Only those wait for a reading that is under way who may not have what was read before it.

        Args:
            key: What is read.
            read: Reads it. What it raises is raised, and nothing is kept.
            since: A moment of `time.monotonic`; what was begun to be read before is read again.
        """
        least = self._monotonic() - self.stale_seconds if since is None else since
        with self._lock:
            self._forget()
            entry = self._reads.setdefault(key, _Read())
            entry.users += 1
        try:
            found = entry.newer_than(least)
            if found is None:
                with entry.lock:
                    found = entry.newer_than(least)
                    if found is None:
                        found = _Found(self._monotonic(), read())
                        entry.found = found
            known: _T = found.value
            return known
        finally:
            with self._lock:
                entry.users -= 1

    def peek(self, key: Hashable) -> Any:  # noqa: ANN401 - what was read under that key
        """Return what `get` would return without reading anything, or waiting; None if it would not."""
        with self._lock:
            entry = self._reads.get(key)
        found = entry and entry.newer_than(self._monotonic() - self.stale_seconds)
        return found.value if found else None

    def forget(self, key: Hashable) -> None:
        """Have it read again by whoever asks from now on: what it tells of was changed."""
        with self._lock:
            if (entry := self._reads.get(key)) is not None:
                entry.changed_at = self._monotonic()

    def __len__(self) -> int:
        """Return how much is kept."""
        return len(self._reads)

    def _forget(self) -> None:
        now = self._monotonic()
        if now < self._forget_at:
            return
        self._forget_at = now + _STALE_SECONDS
        limit = now - _KEPT_SECONDS
        for key in [key for key, one in self._reads.items() if not one.users and one.found.begun_at < limit]:
            del self._reads[key]


class KeptAnswers(Generic[_T]):
    """What was made for somebody, kept as long as there is room: what was asked for last goes last.

    Whether it still holds is for whoever asks to find out. For any number of threads.
    """

    def __init__(self, *, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[_T, int]] = OrderedDict()
        self._turns = tuple(threading.Lock() for _ in range(_TURNS))
        #: How much is kept now, as `keep` was told.
        self.kept_bytes = 0

    def find(self, key: Hashable) -> _T | None:
        """Return what was kept last under a key."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, answer: _T, size_bytes: int) -> None:
        """Keep something in place of what was kept under its key, unless it is larger than all room."""
        with self._lock:
            self._drop(key)
            if size_bytes > self._most_bytes:
                return
            self._kept[key] = answer, size_bytes
            self.kept_bytes += size_bytes
            while self.kept_bytes > self._most_bytes:
                self._drop(next(iter(self._kept)))

    def drop(self, key: Hashable) -> None:
        """Keep nothing under a key any more."""
        with self._lock:
            self._drop(key)

    def turn(self, key: Hashable) -> threading.Lock:
        """Return what is to be held while something is made: who waits for it finds it made, as a rule."""
        return self._turns[hash(key) % _TURNS]

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def _drop(self, key: Hashable) -> None:
        _, size_bytes = self._kept.pop(key, (None, 0))
        self.kept_bytes -= size_bytes

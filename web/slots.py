"""Places for requests that take long: a fixed number of them, and nobody queues for one."""

from __future__ import annotations

import threading


class Slots:
    """Counts places; `count` may be 0, then there is never a free one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.Semaphore(count)

    def take(self) -> bool:
        """Take a place if one is free."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Give a place back that was taken."""
        self._free.release()

"""The idempotency keys whose first request is being answered right now, by this one web process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import IdempotencyKeyInUse


class KeysInFlight:
    """Held in memory on purpose: a process that is killed leaves no key behind that nobody answers for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def hold(self, caller: str, key: str) -> Iterator[None]:
        """Hold a caller's key for the length of the block.

        Raises:
            IdempotencyKeyInUse: when another request holds it.
        """
        with self._lock:
            if (caller, key) in self._held:
                raise IdempotencyKeyInUse("a request with this key is still being answered; ask again")
            self._held.add((caller, key))
        try:
            yield
        finally:
            with self._lock:
                self._held.discard((caller, key))

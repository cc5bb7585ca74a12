"""Attempts to sign in: from one address only so many may fail, so that nobody tries token after token.

Kept in memory: a token cannot be guessed anyway, and who restarts the service is no attacker.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

from shared.errors import TooManySignIns

MOST = 10
WITHIN_SECONDS = 60.0
#: Of so many addresses it is known; the one that was heard of longest ago is forgotten.
_ADDRESSES = 10_000


class SignInAttempts:
    """Counts attempts that failed, by address; for any number of threads."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def require(self, address: str) -> None:
        """Refuse another attempt from an address with too many that failed.

        Raises:
            TooManySignIns: saying how many there were.
        """
        now = self._monotonic()
        with self._lock:
            failed = self._failed.get(address)
            while failed and failed[0] <= now - WITHIN_SECONDS:
                failed.popleft()
            if failed and len(failed) >= MOST:
                raise TooManySignIns(
                    f"{len(failed)} attempts from this address failed within {WITHIN_SECONDS:g} s; "
                    f"at most {MOST} may"
                )

    def note_failure(self, address: str) -> None:
        """Count one that failed."""
        with self._lock:
            failed = self._failed.setdefault(address, deque(maxlen=MOST))
            failed.append(self._monotonic())
            self._failed.move_to_end(address)
            while len(self._failed) > _ADDRESSES:
                self._failed.popitem(last=False)

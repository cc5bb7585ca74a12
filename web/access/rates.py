"""Request rates: how many requests each caller has sent within a minute, and who has to wait.

Each request is counted in this process, in some microseconds, also the polls that the event loop answers. A
thread of its own brings the counts to Redis about once a second, and takes over what others have counted. So
no request ever waits for Redis, and a service that is started again goes on where it was. While Redis is away
requests are counted, and nobody is refused.

Flask-Limiter, and `limits` below it, ask their storage at each request, and Flask-Limiter knows nothing of
what is answered outside of Flask, as most polls are.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from shared.errors import Quota, RateLimited, RedisUnavailable
from shared.logs import get_logger
from shared.redis.rates import WINDOW_SECONDS, RateCount, RateCounters
from shared.settings import Settings
from web.access.tokens import Access

_SYNC_SECONDS = 1.0
#: After a failure Redis is not asked again for so long.
_AWAY_SECONDS = 5.0
_JOIN_SECONDS = 2.0
_log = get_logger(__name__)


class Window(NamedTuple):
    """A minute of a caller: the requests so far, and when it ends, by a clock that only goes on."""

    used: int
    ends_at: float


class Rate(NamedTuple):
    """What becomes of one more request: the window with it, and whether it is one too many."""

    window: Window
    is_refused: bool


def decide_rate(window: Window | None, now: float, *, most: int) -> Rate:
    """Decide about one more request of a caller who may send `most` ≥ 1 in a minute.

    A minute begins with its first request. One that is refused does not count.
    """
    if window is None or now >= window.ends_at:
        return Rate(Window(1, now + WINDOW_SECONDS), is_refused=False)
    if window.used >= most:
        return Rate(window, is_refused=True)
    return Rate(Window(window.used + 1, window.ends_at), is_refused=False)


def quota_of(window: Window | None, now: float, *, most: int) -> Quota:
    """Return what is left of the `most` requests in a minute."""
    used, seconds = 0, float(WINDOW_SECONDS)
    if window is not None and now < window.ends_at:
        used, seconds = window.used, window.ends_at - now
    return Quota("requests", most, max(0, most - used), max(1, math.ceil(seconds)), WINDOW_SECONDS)


def merge_counts(window: Window, unsent: int, shared: RateCount, now: float) -> Window:
    """Return the window with what all have counted; `unsent` requests of it were not among that.

    A Redis that has lost its data knows less than this process, which does not forget.
    """
    return Window(max(shared.used + unsent, window.used), now + shared.left_ms / 1000)


@dataclass
class _Counted:
    """A caller's window here, and how many of its requests Redis was not told of."""

    window: Window
    unsent: int = 0


class RequestRates:
    """Counts the requests of all callers; for any number of threads, and for the event loop."""

    def __init__(
        self,
        counters: RateCounters,
        settings: Settings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        has_thread: bool = True,
    ) -> None:
        """Prepare it; without a thread whoever has it calls `sync`."""
        self._counters = counters
        self._settings = settings
        self._monotonic = monotonic
        self._has_thread = has_thread
        self._lock = threading.Lock()
        self._callers: dict[str, _Counted] = {}
        self._is_away = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def require(self, access: Access) -> Quota | None:
        """Count a request; return what is left, None where there is no limit.

        Raises:
            RateLimited: when it is one too many; it does not count then.
        """
        most = self.most_of(access)
        if not most:
            return None
        now = self._monotonic()
        with self._lock:
            rate = decide_rate(self._window_of(access.caller), now, most=most)
            if not rate.is_refused or self._is_away:
                return self._count(access.caller, rate, now, most)
        quota = quota_of(rate.window, now, most=most)
        raise RateLimited(
            f"the caller '{access.caller}' has sent {most} requests within {WINDOW_SECONDS} s, and may send "
            f"no more; more are taken in {quota.seconds} s"
        ).of(quota)

    def count(self, access: Access) -> Quota | None:
        """Count a request that is answered in any case; return what is left, None without a limit."""
        most = self.most_of(access)
        if not most:
            return None
        now = self._monotonic()
        with self._lock:
            rate = decide_rate(self._window_of(access.caller), now, most=most)
            return self._count(access.caller, rate, now, most)

    def is_used_up(self, access: Access) -> bool:
        """Whether `require` would refuse a request; counts nothing."""
        most = self.most_of(access)
        if not most:
            return False
        rate = decide_rate(self._window_of(access.caller), self._monotonic(), most=most)
        return rate.is_refused and not self._is_away

    def find_quota(self, access: Access) -> Quota | None:
        """Return what is left of a caller's requests, None where there is no limit; counts nothing."""
        most = self.most_of(access)
        return quota_of(self._window_of(access.caller), self._monotonic(), most=most) if most else None

    def most_of(self, access: Access) -> int:
        """Return how many requests a caller may send in a minute; 0 is no limit."""
        if access.token_id is None:
            return self._settings.max_open_requests_per_minute
        return self._settings.max_requests_per_minute

    def sync(self) -> bool:
        """Tell Redis what was counted, and take over what others have; return whether it could be asked."""
        told = self._take_unsent()
        if not told:
            return True
        try:
            found = self._counters.add([(caller, count) for caller, (count, _) in told.items()])
        except RedisUnavailable as error:
            self._fail(told, error)
            return False
        with self._lock:
            now, self._is_away = self._monotonic(), False
            for (caller, (_, ends_at)), shared in zip(told.items(), found, strict=True):
                known = self._callers.get(caller)
                if known is not None and known.window.ends_at == ends_at:
                    known.window = merge_counts(known.window, known.unsent, shared, now)
        return True

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _window_of(self, caller: str) -> Window | None:
        known = self._callers.get(caller)
        return None if known is None else known.window

    def _count(self, caller: str, rate: Rate, now: float, most: int) -> Quota:
        """Count a request; also one that nobody refuses, though it is one too many."""
        window = Window(rate.window.used + 1, rate.window.ends_at) if rate.is_refused else rate.window
        known = self._callers.get(caller)
        if known is None or known.window.ends_at != window.ends_at:
            self._callers[caller] = _Counted(window, 1)
        else:
            known.window, known.unsent = window, known.unsent + 1
        if self._thread is None and self._has_thread:
            self._thread = threading.Thread(target=self._run, name="rates", daemon=True)
            self._thread.start()
        return quota_of(window, now, most=most)

    def _take_unsent(self) -> dict[str, tuple[RateCount, float]]:
        """Return what Redis is to be told, and when each window ends; those that are over are forgotten."""
        with self._lock:
            now = self._monotonic()
            self._callers = {
                caller: known for caller, known in self._callers.items() if now < known.window.ends_at
            }
            told = {}
            for caller, known in self._callers.items():
                if known.unsent:
                    left_ms = max(1, int((known.window.ends_at - now) * 1000))
                    told[caller] = RateCount(known.unsent, left_ms), known.window.ends_at
                    known.unsent = 0
            return told

    def _fail(self, told: dict[str, tuple[RateCount, float]], error: RedisUnavailable) -> None:
        with self._lock:
            was_away, self._is_away = self._is_away, True
            for caller, (count, ends_at) in told.items():
                known = self._callers.get(caller)
                if known is not None and known.window.ends_at == ends_at:
                    known.unsent += count.used
        if not was_away:
            _log.warning("rates_not_limited", detail=error.detail)

    def _run(self) -> None:
        while not self._ended.wait(_AWAY_SECONDS if self._is_away else _SYNC_SECONDS):
            self.sync()

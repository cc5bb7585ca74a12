"""Jobs judged one by one: an error about one of them is logged and counted, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from shared.errors import DatabaseUnavailable, IdentityMissing, IdentityWrong, RedisUnavailable
from shared.logs import get_logger

_T = TypeVar("_T")
_log = get_logger(__name__)
_PAUSE = timedelta(minutes=1)
#: These concern every job alike. A storage that fails at one file may well have the others.
_OF_ALL = (RedisUnavailable, DatabaseUnavailable, IdentityMissing, IdentityWrong)


class FailingJobs:
    """The jobs that could not be acted on lately; each is tried again after a minute."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._failed_at: dict[str, datetime] = {}
        #: How many failures there were since the start.
        self.count = 0

    def attempt(self, job_id: str, act: Callable[[], _T]) -> _T | None:
        """Do something about a job; None when it fails, or failed within the last minute.

        Raises:
            RedisUnavailable, DatabaseUnavailable, IdentityMissing, IdentityWrong: which concern all jobs.
        """
        now = self._clock()
        # In both directions: the clock may have been wrong.
        self._failed_at = {key: at for key, at in self._failed_at.items() if abs(now - at) < _PAUSE}
        if job_id in self._failed_at:
            return None
        try:
            return act()
        except _OF_ALL:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the other jobs go on
            _log.exception("job_skipped", job_id=job_id)
            self._failed_at[job_id] = now
            self.count += 1
            return None

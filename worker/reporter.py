"""The reporter: the durable events of one attempt, in order, kept here while Redis is away."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from threading import Lock
from time import sleep
from typing import Any

from shared.clock import to_rfc3339, utc_now
from shared.errors import RedisUnavailable
from shared.logs import get_logger
from shared.protocol import EventType, JobMessage, WorkerEvent
from shared.redis.claims import Verdict
from shared.redis.stream import EventStream

_log = get_logger(__name__)
_LAST_TRIES = 6


class Reporter:
    """Reports of one attempt. Safe to use from the step loop and the lease's thread at once."""

    def __init__(self, stream: EventStream, message: JobMessage) -> None:
        self._stream = stream
        self._message = message
        self._claim: dict[str, Any] | None = None
        self._unsent: deque[WorkerEvent] = deque()
        self._lock = Lock()

    def report(self, kind: EventType, data: dict[str, Any], *, now: datetime, mark: str = "") -> None:
        """Report something; `mark` tells events of one kind apart, and repeats of one event are one."""
        name = f"{self._message.message_id}:{kind}"
        event = WorkerEvent(
            event_id=f"{name}:{mark}" if mark else name,
            type=kind,
            job_id=self._message.job_id,
            attempt=self._message.attempt,
            at=now,
            data=data,
        )
        with self._lock:
            self._unsent.append(event)
        self.flush()

    def report_claimed(self, claim: dict[str, Any]) -> None:
        """Report what was claimed, by whom and how; from now on it is repeated when Redis has lost it."""
        self._claim = claim
        self._report_claim(claim)

    def on_renewed(self, verdict: Verdict) -> None:
        """Send what is unsent, now that Redis answers; the claim once more if Redis had lost the lease."""
        if verdict is Verdict.RESTORED and self._claim is not None:
            self._report_claim(self._claim)
        self.flush()

    def flush(self) -> bool:
        """Send what is unsent; False while Redis is away."""
        with self._lock:
            try:
                while self._unsent:
                    self._stream.report(self._unsent[0])
                    self._unsent.popleft()
            except RedisUnavailable as error:
                _log.warning("report_delayed", unsent=len(self._unsent), reason=error.detail)
                return False
        return True

    def finish(self) -> None:
        """Send what is unsent, trying for about a minute; after that control finds out by itself."""
        for number in range(_LAST_TRIES):
            if self.flush():
                return
            sleep(2**number)
        _log.error("report_given_up", unsent=len(self._unsent))

    def _report_claim(self, claim: dict[str, Any]) -> None:
        # Each time another event: control may have forgotten the claim that it had applied.
        now = utc_now()
        self.report(EventType.CLAIMED, claim, now=now, mark=f"{claim['worker_id']}:{to_rfc3339(now)}")

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
from worker.talk import Breaker

_log = get_logger(__name__)
_LAST_TRIES = 6


class Reporter:
    """Reports of one attempt. Safe to use from the step loop and the lease's thread at once.

    The step loop never waits for Redis: a report is sent at once if Redis answers as usual, else by the next
    renewal of the lease.
    """

    def __init__(self, stream: EventStream, message: JobMessage, breaker: Breaker | None = None) -> None:
        """Prepare to report over `stream`; `breaker` is shared with whatever else the step loop says."""
        self._stream = stream
        self._message = message
        self._breaker = breaker or Breaker()
        self._claim: dict[str, Any] | None = None
        self._unsent: deque[WorkerEvent] = deque()
        self._sending = Lock()

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
            traceparent=self._message.traceparent,
        )
        self._unsent.append(event)
        if not self._breaker.is_open:
            self.flush(wait=False)

    def report_claimed(self, claim: dict[str, Any]) -> None:
        """Report what was claimed, by whom and how; from now on it is repeated when Redis has lost it."""
        self._claim = claim
        self._report_claim(claim)

    def on_renewed(self, verdict: Verdict) -> None:
        """Send what is unsent, now that Redis answers; the claim once more if Redis had lost the lease."""
        self._breaker.heal()
        if verdict is Verdict.RESTORED and self._claim is not None:
            self._report_claim(self._claim)
        self.flush()

    def flush(self, *, wait: bool = True) -> bool:
        """Send what is unsent; False while Redis is away.

        If another thread is sending just now, that one sends this too; without `wait` it is left to it.
        """
        while self._unsent:
            if not self._sending.acquire(blocking=wait):
                return True
            try:
                self._send()
            except RedisUnavailable as error:
                _log.warning("report_delayed", unsent=len(self._unsent), reason=error.detail)
                return False
            finally:
                self._sending.release()
            # Looked at once more: what came in the moment before the release was left to this thread.
        return True

    def _send(self) -> None:
        with self._breaker.watched():
            while self._unsent:
                self._stream.report(self._unsent[0])
                self._unsent.popleft()

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

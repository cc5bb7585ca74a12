"""The talk of a running attempt with Redis, beside its compute, which must not wait for it.

About ten times a second a step publishes its progress and asks for the flag. Redis may answer late, or
swallow what is sent: after a failure nothing is said for twenty times as long as that has cost, or until the
lease's own thread hears from Redis again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic

from shared.errors import RedisUnavailable
from shared.logs import get_logger
from shared.protocol import JobMessage
from shared.redis import Coordination
from shared.redis.live import Flag, LiveProgress
from worker.engine.state import Losses, Step

#: The most that a step may lose to one try.
REPLY_SECONDS = 1.0
#: Quiet for so many times as long as a failure took: so the compute loses a twentieth at most.
_QUIET_FACTOR = 20.0
_LEAST_QUIET_SECONDS, _MOST_QUIET_SECONDS = 1.0, 30.0

_log = get_logger(__name__)


def decide_quiet_seconds(lost_seconds: float) -> float:
    """Return for how long nothing is said after a failure that took so long."""
    return min(_MOST_QUIET_SECONDS, max(_LEAST_QUIET_SECONDS, _QUIET_FACTOR * lost_seconds))


class Breaker:
    """Says whether Redis is to be spoken to now; open for a while after a failure. Safe for many threads."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._quiet_until = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether nothing is to be said now."""
        with self._lock:
            return self._clock() < self._quiet_until

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note it when what is done in the block fails because of Redis."""
        began = self._clock()
        try:
            yield
        except RedisUnavailable:
            now = self._clock()
            with self._lock:
                self._quiet_until = now + decide_quiet_seconds(now - began)
            raise

    def heal(self) -> None:
        """Note that Redis answered."""
        with self._lock:
            self._quiet_until = float("-inf")


class Talk:
    """What one attempt tells about itself while it runs, and hears; neither ever raises or waits for long."""

    def __init__(self, redis: Coordination, message: JobMessage, breaker: Breaker) -> None:
        """Prepare to talk over `redis`, whose replies are awaited for `REPLY_SECONDS` at most."""
        self._redis = redis
        self._message = message
        self._breaker = breaker

    def read_flag(self) -> Flag | None:
        """Return what is asked of the attempt; nothing while Redis is away."""
        if self._breaker.is_open:
            return None
        try:
            with self._breaker.watched():
                return self._redis.flags.read(self._message.job_id, self._message.attempt)
        except RedisUnavailable as error:
            _log.warning("flag_not_read", reason=error.detail)
            return None

    def publish(self, progress: LiveProgress) -> None:
        """Publish where the attempt is."""
        if self._breaker.is_open:
            return
        try:
            with self._breaker.watched():
                self._redis.progress.publish(self._message.job_id, progress)
        except RedisUnavailable as error:
            _log.warning("progress_not_published", reason=error.detail)


class ProgressTeller:
    """Tells where one attempt is: after a step, and once there is a preview. Safe for many threads."""

    def __init__(self, talk: Talk, *, attempt: int) -> None:
        self._talk = talk
        self._attempt = attempt
        # Held while it is told, so that what is older never replaces what is newer.
        self._lock = Lock()
        self._newest: LiveProgress | None = None
        self._preview_step = 0
        self._first: tuple[int, float] | None = None

    def tell_step(self, step: Step, losses: Losses, *, now: float) -> None:
        """Tell of a step; `now` is monotonic, in seconds. The first of all should be told at once."""
        with self._lock:
            first_step, first_at = self._first = self._first or (step.step, now)
            done, elapsed = step.step - first_step, now - first_at
            self._publish(
                LiveProgress(
                    attempt=self._attempt,
                    step=step.step,
                    steps=step.steps,
                    loss_total=losses.total,
                    loss_content=losses.content,
                    loss_style=losses.style,
                    # The first step of a process may also compile: its time says nothing of those to come.
                    steps_per_second=done / elapsed if done and elapsed > 0 else None,
                    preview_step=self._preview_step,
                )
            )

    def tell_preview(self, step: int) -> None:
        """Tell that there is a preview of a step, which has been told."""
        with self._lock:
            self._preview_step = step
            if self._newest is not None:
                self._publish(self._newest.model_copy(update={"preview_step": step}))

    def _publish(self, progress: LiveProgress) -> None:
        self._newest = progress
        self._talk.publish(progress)

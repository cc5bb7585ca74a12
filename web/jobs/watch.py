"""Waiting for a job to change: through Redis, or by polling while Redis is unavailable."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from types import TracebackType

import redis

from shared.errors import RedisUnavailable
from shared.redis.connection import redis_errors
from shared.redis.live import ProgressStore

#: A notification may get lost: look at the database this often anyway.
POLL_SECONDS = 2.0
_POLL_WITHOUT_REDIS_SECONDS = 0.5
_SLICE_SECONDS = 0.5
_RETRY_SECONDS = 5.0


class JobWatch:
    """A watch on one job, as a context. Holds a Redis connection, never a database session."""

    def __init__(self, progress: ProgressStore, job_id: str, *, stopping: threading.Event) -> None:
        self._progress = progress
        self._job_id = job_id
        self._stopping = stopping
        self._stack = ExitStack()
        self._pubsub: redis.client.PubSub | None = None
        self._retry_at = 0.0

    def __enter__(self) -> JobWatch:
        self._subscribe()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def wait(self, seconds: float, *, only_changes: bool = False) -> None:
        """Return when the job may have changed, at the latest after `seconds` or 2 s, whichever is less.

        With `only_changes`, new live progress does not end the wait; a change of the row does.
        """
        deadline = time.monotonic() + min(seconds, POLL_SECONDS)
        while not self._stopping.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            if self._pubsub is None and time.monotonic() >= self._retry_at:
                self._subscribe()
            if self._pubsub is None:
                self._stopping.wait(min(left, _POLL_WITHOUT_REDIS_SECONDS))
                return
            try:
                with redis_errors():
                    message = self._pubsub.get_message(timeout=min(left, _SLICE_SECONDS))
            except RedisUnavailable:
                self._drop()
                continue
            if message is not None and not (only_changes and message["data"] == "progress"):
                return

    def _subscribe(self) -> None:
        try:
            pubsub = self._stack.enter_context(self._progress.watch(self._job_id))
            # The confirmation: all that is published from here on is received.
            with redis_errors():
                pubsub.get_message(timeout=1.0)
        except RedisUnavailable:
            self._drop()
            return
        self._pubsub = pubsub

    def _drop(self) -> None:
        self._pubsub = None
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        self._stack.close()
        self._stack = ExitStack()

"""Waiting for a job to change: through Redis, or by polling while Redis is unavailable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType

import redis

from shared.errors import RedisUnavailable
from shared.logs import get_logger
from shared.redis.connection import redis_errors
from shared.redis.live import ProgressStore

#: A notification may get lost: look at the database this often anyway.
POLL_SECONDS = 2.0
POLL_WITHOUT_REDIS_SECONDS = 0.5
_SLICE_SECONDS = 0.5
_RETRY_SECONDS = 5.0
#: A slice, and what a Redis that hangs takes besides.
_ENDING_SECONDS = 3.0
_log = get_logger(__name__)


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
                self._stopping.wait(min(left, POLL_WITHOUT_REDIS_SECONDS))
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


#: Called in another thread when a job may have changed: with True when its row has, with False for progress.
Wake = Callable[[bool], None]


class JobWatchers:
    """All who wait for a job, woken by one thread with one Redis connection, however many they are.

    `hears` says whether Redis is heard: while it is not, who waits has to look more often.
    """

    def __init__(self, progress: ProgressStore, *, stopping: threading.Event) -> None:
        self._progress = progress
        self._stopping = stopping
        self._lock = threading.Lock()
        self._waking: dict[str, list[Wake]] = {}
        self._thread: threading.Thread | None = None
        self.hears = False

    @contextmanager
    def watch(self, job_id: str, wake: Wake) -> Iterator[None]:
        """Have `wake` called, during the block, when a job may have changed."""
        with self._lock:
            self._waking.setdefault(job_id, []).append(wake)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="job-watchers", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._waking[job_id].remove(wake)
                if not self._waking[job_id]:
                    del self._waking[job_id]

    def close(self) -> None:
        """End, and return when nothing is heard any more: the connection may be closed then."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_ENDING_SECONDS)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                self._hear()
            except RedisUnavailable as error:
                _log.warning("jobs_not_heard", detail=error.detail)
            except Exception:  # noqa: BLE001 - whoever waits must not be forgotten for it
                _log.exception("jobs_not_heard")
            self.hears = False
            self._stopping.wait(_RETRY_SECONDS)

    def _hear(self) -> None:
        with self._progress.watch_all() as pubsub:
            while not self._stopping.is_set():
                with redis_errors():
                    message = pubsub.get_message(timeout=_SLICE_SECONDS)
                if not self.hears:
                    # What was published before is not heard any more: everybody looks once.
                    self.hears = True
                    self._wake_all()
                if message is not None:
                    self._wake(self._progress.job_of(message["channel"]), message["data"] != "progress")

    def _wake(self, job_id: str, is_change: bool) -> None:
        with self._lock:
            waking = list(self._waking.get(job_id, ()))
        for wake in waking:
            wake(is_change)

    def _wake_all(self) -> None:
        with self._lock:
            job_ids = list(self._waking)
        for job_id in job_ids:
            self._wake(job_id, True)

"""What Redis knows of jobs and workers at this moment; nothing, while Redis is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from shared.errors import RedisUnavailable
from shared.logs import get_logger
from shared.redis.live import LiveProgress, ProgressStore
from shared.redis.workers import WorkerBeat, WorkerRegistry

_AWAY_SECONDS = 5.0
_T = TypeVar("_T")
_log = get_logger(__name__)


class LiveReader:
    """Reads hints only: a job can be read without any of them.

    After a failure it does not ask again for 5 s, so that a Redis that swallows connections costs one
    request its time-out and not every one.
    """

    def __init__(
        self,
        board: ProgressStore,
        registry: WorkerRegistry,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._registry = registry
        self._monotonic = monotonic
        self._away_until = 0.0

    def progress(self, job_ids: list[str]) -> dict[str, LiveProgress]:
        """Return the live progress of those of the jobs that have some."""
        return self._ask(lambda: self._board.read(job_ids)) or {}

    def workers(self) -> list[WorkerBeat] | None:
        """Return the workers that are alive; None when Redis cannot be asked."""
        return self._ask(self._registry.alive)

    def eligible_workers(self) -> int | None:
        """Return how many workers a job may come to; None when Redis cannot be asked."""
        beats = self.workers()
        return None if beats is None else sum(beat.takes_jobs for beat in beats)

    def _ask(self, question: Callable[[], _T]) -> _T | None:
        if self._monotonic() < self._away_until:
            return None
        try:
            return question()
        except RedisUnavailable as error:
            self._away_until = self._monotonic() + _AWAY_SECONDS
            _log.warning("redis_away", detail=error.detail)
            return None

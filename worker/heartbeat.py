"""The heartbeat of a node: tells Redis what the node is doing, and hears whether it is to drain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import monotonic

from shared.clock import utc_now
from shared.errors import RedisUnavailable
from shared.logs import get_logger
from shared.redis.workers import WorkerBeat, WorkerRegistry, WorkerState
from worker.devices import MemoryMeter
from worker.node_state import ChildNote, NodeState

_log = get_logger(__name__)
_BEAT_SECONDS = 5.0


def is_due(beat: WorkerBeat, said: WorkerBeat | None, *, seconds_since: float) -> bool:
    """Whether a beat has to be sent: it tells something new, or the last one was 5 s ago."""
    if said is None or seconds_since >= _BEAT_SECONDS:
        return True
    return beat.model_copy(update={"at": said.at}) != said


def shown_state(note: ChildNote, *, is_draining: bool) -> WorkerState:
    """Return the state that a node tells: one that ends is draining, one that takes nothing is unhealthy."""
    if is_draining:
        return WorkerState.DRAINING
    return WorkerState.UNHEALTHY if note.unhealthy and note.job is None else note.state


class Heartbeat:
    """Runs in a node's parent process. `facts` is what does not change while the node runs."""

    def __init__(
        self,
        registry: WorkerRegistry,
        node_state: NodeState,
        meter: MemoryMeter,
        *,
        facts: WorkerBeat,
        health_file: str = "",
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._node_state = node_state
        self._meter = meter
        self._facts = facts
        self._health_file = health_file
        self._clock = clock
        self._said: WorkerBeat | None = None
        self._said_at = self._away_until = float("-inf")

    def look(self) -> bool:
        """Beat if it is due; return whether somebody asks the node to drain.

        To be called about once a second. While Redis is away it is asked every 5 s only: a connection that
        hangs costs seconds, in which Celery's own loop stands still.
        """
        if monotonic() < self._away_until:
            return False
        beat = self._beat()
        try:
            if is_due(beat, self._said, seconds_since=monotonic() - self._said_at):
                self._registry.beat(beat)
                self._said, self._said_at = beat, monotonic()
                if self._health_file:
                    Path(self._health_file).touch()
            return self._registry.is_drain_asked(beat)
        except RedisUnavailable as error:
            self._said, self._away_until = None, monotonic() + _BEAT_SECONDS
            _log.warning("beat_lost", reason=error.detail)
            return False

    def stop(self) -> None:
        """Say that the node is going."""
        try:
            self._registry.leave(self._facts.worker_id)
        except RedisUnavailable as error:
            _log.warning("leave_lost", reason=error.detail)

    def _beat(self) -> WorkerBeat:
        note, memory = self._node_state.read(), self._meter.read()
        return self._facts.model_copy(
            update={
                "state": shown_state(note, is_draining=self._node_state.is_draining),
                "reason": note.unhealthy,
                "faults": self._node_state.faults,
                "job": note.job,
                "notice": note.notice,
                "memory_total_bytes": memory.total_bytes,
                "memory_used_bytes": memory.used_bytes,
                "at": self._clock(),
            }
        )

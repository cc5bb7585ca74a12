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
from worker.devices import MemoryMeter, RoomMeter
from worker.node_state import NodeState

_log = get_logger(__name__)
_BEAT_SECONDS = 5.0


def is_due(beat: WorkerBeat, said: WorkerBeat | None, *, seconds_since: float) -> bool:
    """Whether a beat has to be sent: it tells something new, or the last one was 5 s ago."""
    if said is None or seconds_since >= _BEAT_SECONDS:
        return True
    return beat.model_copy(update={"at": said.at}) != said


class Heartbeat:
    """Runs in a node's parent process. `facts` is what does not change while the node runs."""

    def __init__(
        self,
        registry: WorkerRegistry,
        node_state: NodeState,
        meter: MemoryMeter,
        *,
        facts: WorkerBeat,
        room: RoomMeter | None = None,
        health_file: str = "",
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._node_state = node_state
        self._meter = meter
        self._room = room
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
        room = self._room.read() if self._room is not None else None
        return self._facts.model_copy(
            update={
                "state": WorkerState.DRAINING if self._node_state.is_draining else note.state,
                "job": note.job,
                "notice": note.notice,
                "memory_total_bytes": memory.total_bytes,
                "memory_used_bytes": memory.used_bytes,
                "storage_total_bytes": room.total_bytes if room else None,
                "storage_free_bytes": room.free_bytes if room else None,
                "at": self._clock(),
            }
        )

"""The heartbeat of a node: tells Redis what the node is doing, and hears whether it is to drain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from time import monotonic

from shared.clock import utc_now
from shared.errors import RedisUnavailable
from shared.logs import get_logger
from shared.processes import is_gone
from shared.redis.workers import WorkerBeat, WorkerRegistry, WorkerState
from worker.devices import RoomMeter
from worker.memory import MemoryMeter
from worker.node_state import ChildNote, NodeState

_log = get_logger(__name__)
_BEAT_SECONDS = 5.0
#: A node that lives has beaten twice in this time.
_SILENT_SECONDS = 12.0


def is_due(beat: WorkerBeat, said: WorkerBeat | None, *, seconds_since: float) -> bool:
    """Whether a beat has to be sent: it tells something new, or the last one was 5 s ago."""
    if said is None or seconds_since >= _BEAT_SECONDS:
        return True
    return beat.model_copy(update={"at": said.at}) != said


def shown_state(note: ChildNote, *, is_draining: bool, reason: str | None) -> WorkerState:
    """Return the state that a node tells; `reason` is why it takes no jobs, if there is one.

    One that ends is draining, one that takes nothing is unhealthy.
    """
    if is_draining:
        return WorkerState.DRAINING
    return WorkerState.UNHEALTHY if reason and note.job is None else note.state


class NameDecision(StrEnum):
    """What a node does about another run that has its name."""

    #: See whether that one beats again.
    WAIT = "wait"
    #: It is dead.
    TAKE = "take"
    #: It lives: this run must not.
    GIVE_UP = "give_up"


def decide_name(
    other: WorkerBeat, first: WorkerBeat, *, seconds: float, is_named: bool, is_gone: bool
) -> NameDecision:
    """Decide about another run; `first` is what it told when it was first seen, so many seconds ago.

    A node that beats is alive; the beat of one that was killed stays for a while. `is_gone`: its process is
    known to have ended. `is_named`: this run had the name before; then it was suspended for so long that
    another one took it for dead, or a node of an older release was started, which knows no runs.
    """
    if is_gone or (is_named and not other.run):
        return NameDecision.TAKE
    if is_named or (other.run, other.mark) != (first.run, first.mark):
        return NameDecision.GIVE_UP
    return NameDecision.TAKE if seconds >= _SILENT_SECONDS else NameDecision.WAIT


class Heartbeat:
    """Runs in a node's parent process. `facts` is what does not change while the node runs.

    `note_well` is called whenever a beat was stored that does not say that the node is unhealthy.
    """

    def __init__(
        self,
        registry: WorkerRegistry,
        node_state: NodeState,
        meter: MemoryMeter,
        *,
        facts: WorkerBeat,
        room: RoomMeter | None = None,
        note_well: Callable[[], None] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._node_state = node_state
        self._meter = meter
        self._room = room
        self._facts = facts
        self._note_well = note_well
        self._clock = clock
        self._said: WorkerBeat | None = None
        self._said_at = self._away_until = float("-inf")
        self._away_since = 0.0
        #: Whether the name was this run's the last time that Redis was asked.
        self.is_named = False
        #: Another run that has the name and lives: this one must end.
        self.rival: WorkerBeat | None = None
        self._first_seen: WorkerBeat | None = None
        self._first_seen_at = 0.0

    @property
    def is_away(self) -> bool:
        """Whether Redis did not answer when it was last asked."""
        return self._away_until > float("-inf")

    def look(self, reason: str | None = None) -> bool:
        """Beat if it is due; return whether somebody asks the node to drain.

        `reason` is why the node takes no jobs. To be called about once a second. While Redis is away it is
        asked every 5 s only: a connection that hangs costs seconds, in which Celery's own loop stands still.
        """
        if monotonic() < self._away_until:
            return False
        beat = self._beat(reason)
        try:
            if is_due(beat, self._said, seconds_since=monotonic() - self._said_at):
                if not self._store(beat):
                    return False
                self._said, self._said_at = beat, monotonic()
                if self._note_well is not None and beat.state is not WorkerState.UNHEALTHY:
                    self._note_well()
            asked = self._registry.is_drain_asked(beat)
            if self.is_away:
                _log.info("beat_heard_again", away_seconds=round(monotonic() - self._away_since, 1))
            self._away_until = float("-inf")
        except RedisUnavailable as error:
            if not self.is_away:
                self._away_since = monotonic()
            self._said, self._away_until = None, monotonic() + _BEAT_SECONDS
            _log.warning("beat_lost", reason=error.detail)
            return False
        return asked

    def stop(self) -> None:
        """Say that the node is going."""
        try:
            self._registry.leave(self._facts.worker_id, run=self._facts.run)
        except RedisUnavailable as error:
            _log.warning("leave_lost", reason=error.detail)

    def _store(self, beat: WorkerBeat) -> bool:
        """Store a beat, and return whether the name is this run's."""
        other = self._registry.beat(beat)
        if other is not None:
            now = monotonic()
            if self._first_seen is None or other.run != self._first_seen.run:
                self._first_seen, self._first_seen_at = other, now
            decision = decide_name(
                other,
                self._first_seen,
                seconds=now - self._first_seen_at,
                is_named=self.is_named,
                is_gone=is_gone(other.process),
            )
            if decision is NameDecision.GIVE_UP:
                self.rival = other
                return False
            if decision is NameDecision.WAIT or self._registry.beat(beat, instead_of=other) is not None:
                return False
            _log.info("name_taken_over", worker_id=beat.worker_id, host=other.host)
        self.is_named, self._first_seen = True, None
        return True

    def _beat(self, reason: str | None) -> WorkerBeat:
        note, memory = self._node_state.read(), self._meter.read()
        room = self._room.read() if self._room is not None else None
        return self._facts.model_copy(
            update={
                "state": shown_state(note, is_draining=self._node_state.is_draining, reason=reason),
                "reason": reason,
                "faults": self._node_state.faults,
                "job": note.job,
                "notice": note.notice,
                "memory_total_bytes": memory.total_bytes,
                "memory_used_bytes": memory.used_bytes,
                "job_memory_bytes": memory.job_bytes,
                "storage_total_bytes": room.total_bytes if room else None,
                "storage_free_bytes": room.free_bytes if room else None,
                "at": self._clock(),
            }
        )

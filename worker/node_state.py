"""The state of a node: what its two processes tell each other, in memory that both of them see.

No lock guards it. A process that is killed while it holds one would stop the other one for good; a text that
is read half-written is known by its checksum, and the one read before stands in for it.
"""

from __future__ import annotations

import multiprocessing
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from time import monotonic

from pydantic import BaseModel, ConfigDict

from shared.protocol import JobMessage
from shared.redis.workers import WorkerJob, WorkerState

_SIZE_BYTES = 16_384
_HEAD = struct.Struct("<II")
#: A notice is a few sentences; the rest of a note is far smaller.
_LONGEST_NOTICE = 1000


class ChildNote(BaseModel):
    """What the child tells: its state, the job it has, and the notice of the weights it has loaded.

    `unhealthy` is why it takes no jobs for now; a child that is started anew keeps it. `refusal` is why it
    rests until a moment of the monotonic clock.
    """

    model_config = ConfigDict(frozen=True)

    state: WorkerState = WorkerState.STARTING
    job: WorkerJob | None = None
    notice: str | None = None
    unhealthy: str | None = None
    refusal: str | None = None
    rests_until: float = 0.0

    def why_idle(self, now: float) -> str | None:
        """Return why it takes no jobs at a moment of the monotonic clock; None when it does."""
        return self.unhealthy or (self.refusal if now < self.rests_until else None)


class NodeState:
    """Made before the fork. The child alone writes its note and faults, the parent alone that it drains."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self._drain = context.RawValue("b", 0)
        self._text = context.RawArray("c", _SIZE_BYTES)
        self._faults = context.RawValue("I", 0)
        self._faults_in_a_row = context.RawValue("I", 0)
        self._loads = context.RawValue("I", 0)
        self._sight = context.RawValue("d", 0.0)
        self._awaited = context.RawValue("d", 0.0)
        self._moved = context.RawValue("b", 0)
        self._lock = Lock()
        self._note = ChildNote()
        self._tell(self._note)

    @property
    def is_draining(self) -> bool:
        """Whether the node is to hand its job back and end."""
        return bool(self._drain.value)

    def drain(self) -> None:
        """Tell the child to hand its job back; may be called from a signal handler."""
        self._drain.value = 1

    def begin(self) -> None:
        """Note, in the child, that its engine is being loaded."""
        self._loads.value += 1
        self._sight.value = self._awaited.value = 0.0
        self._lock = Lock()  # the parent's may have been held when this process was forked
        self._tell(ChildNote(unhealthy=self.read().unhealthy))

    def be_ready(self, notice: str | None) -> None:
        """Note, in the child, that its engine is loaded; `notice` is what people have to know of it."""
        self._change(state=WorkerState.IDLE, notice=notice[:_LONGEST_NOTICE] if notice else None)
        self._loads.value = 0

    @property
    def loads(self) -> int:
        """How many times the engine's loading was begun since it was last ready."""
        return int(self._loads.value)

    def be_unhealthy(self, reason: str) -> None:
        """Note, in the child, why the node takes no jobs until further notice."""
        self._change(unhealthy=reason[:_LONGEST_NOTICE])

    def be_healthy(self) -> None:
        """Note, in the child, that the node takes jobs again."""
        self._change(unhealthy=None)

    def forget_job(self) -> None:
        """Note, in the parent, that the child which had a job is dead."""
        self._change(job=None)

    def rest(self, reason: str, *, seconds: float) -> None:
        """Note, in the child, why the node takes no jobs for so long."""
        self._change(refusal=reason[:_LONGEST_NOTICE], rests_until=monotonic() + seconds)

    def await_storage(self) -> None:
        """Note, in the child, that the first look at the storage is begun."""
        self._awaited.value = monotonic()

    @property
    def unseen_seconds(self) -> float:
        """For how long this child has waited for its first look at the storage; 0 before and after it."""
        is_waiting = self._awaited.value and not self._sight.value
        return monotonic() - self._awaited.value if is_waiting else 0.0

    def see_storage(self) -> None:
        """Note, in the child, that a look at the storage has come back."""
        self._sight.value = monotonic()

    @property
    def sight_age_seconds(self) -> float | None:
        """How long ago that was; None when this child has not looked yet."""
        seen_at = self._sight.value
        return monotonic() - seen_at if seen_at else None

    def be_moved(self) -> None:
        """Note, in the child, that the storage belongs to another installation than the node."""
        self._moved.value = 1

    @property
    def is_moved(self) -> bool:
        """Whether the storage belongs to another installation than the node."""
        return bool(self._moved.value)

    @property
    def faults(self) -> int:
        """How many jobs the node handed back because it may be at fault itself, since it was started."""
        return int(self._faults.value)

    @property
    def faults_in_a_row(self) -> int:
        """How many of them came since the last job that went well."""
        return int(self._faults_in_a_row.value)

    def add_fault(self) -> None:
        """Count, in the child, a job that was handed back because the node may be at fault."""
        self._faults.value += 1
        self._faults_in_a_row.value += 1

    def end_faults(self) -> None:
        """Note, in the child, that a job went well."""
        self._faults_in_a_row.value = 0

    @contextmanager
    def busy_with(self, message: JobMessage, *, now: datetime) -> Iterator[None]:
        """Note, in the child, that it has an attempt for the length of the block."""
        job = WorkerJob(
            job_id=message.job_id, attempt=message.attempt, step=0, steps=message.options.steps, since=now
        )
        self._change(state=WorkerState.BUSY, job=job)
        try:
            yield
        finally:
            self._change(state=WorkerState.IDLE, job=None)

    def stepped(self, step: int) -> None:
        """Note, in the child, that `step` is made."""
        if self._note.job is not None:
            self._change(job=self._note.job.model_copy(update={"step": step}))

    def read(self) -> ChildNote:
        """Return, in the parent, what the child told last."""
        length, checksum = _HEAD.unpack_from(self._text.raw)
        data = self._text.raw[_HEAD.size : _HEAD.size + length]
        if zlib.crc32(data) == checksum:
            self._note = ChildNote.model_validate_json(data)
        return self._note

    def _change(self, **changes: object) -> None:
        """Tell what has changed; the step loop and the threads beside it do so."""
        with self._lock:
            self._tell(self._note.model_copy(update=changes))

    def _tell(self, note: ChildNote) -> None:
        self._note = note
        data = note.model_dump_json().encode()
        self._text.raw = _HEAD.pack(len(data), zlib.crc32(data)) + data

"""The registry of workers: each node sends a heartbeat every few seconds, and is gone without one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import redis
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from shared.errors import WorkerTooOld
from shared.protocol import DRAIN_PROTOCOL
from shared.redis.connection import redis_errors
from shared.redis.names import Names

#: Long enough for a node that does not reach Redis for a while; the request names one run of a node.
_DRAIN_SECONDS = 3600


class WorkerState(StrEnum):
    """What a node is doing."""

    #: It loads its engine.
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    #: It takes no more jobs, releases the one it has, and ends.
    DRAINING = "draining"
    #: It takes no jobs for now; its beat says why.
    UNHEALTHY = "unhealthy"


class WorkerJob(BaseModel):
    """The attempt that a node is busy with; `step` is the last one made, `since` when it was claimed."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    attempt: int
    step: int
    steps: int
    since: datetime


class WorkerBeat(BaseModel):
    """What a node says of itself.

    The memory is the GPU's, or the machine's for a node on the CPU; None where it cannot be measured.
    """

    model_config = ConfigDict(frozen=True)

    worker_id: str
    host: str = ""
    device: str
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    #: The room of the storage's file system as the node sees it; None where it is not measured.
    storage_total_bytes: int | None = None
    storage_free_bytes: int | None = None
    weights: str
    notice: str | None = None
    state: WorkerState = WorkerState.IDLE
    #: Why an unhealthy node takes no jobs.
    reason: str | None = None
    job: WorkerJob | None = None
    version: str = ""
    #: Which code of that version; empty for a node that does not say.
    build: str = ""
    #: What the node understands; see `shared.protocol.PROTOCOL`.
    protocol: int = 0
    started_at: datetime
    at: datetime

    @model_validator(mode="before")
    @classmethod
    def _guess_protocol(cls, values: Any) -> Any:  # noqa: ANN401 - whatever stands in Redis
        """Fill in the protocol of a node that is older than this field: those that tell a state can drain."""
        if isinstance(values, Mapping) and "protocol" not in values and "state" in values:
            return {**values, "protocol": DRAIN_PROTOCOL}
        return values

    @property
    def takes_jobs(self) -> bool:
        """Whether this node may get a job that is queued now."""
        return self.state not in (WorkerState.DRAINING, WorkerState.UNHEALTHY)

    @property
    def can_drain(self) -> bool:
        """Whether this node's release does what `WorkerRegistry.drain` asks."""
        return self.protocol >= DRAIN_PROTOCOL


class WorkerRegistry:
    """All nodes that are alive. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis, names: Names, *, worker_seconds: float = 30) -> None:
        self._client = client
        self._names = names
        self._keep_ms = int(worker_seconds * 1000)

    def beat(self, beat: WorkerBeat) -> None:
        """Store a node's heartbeat."""
        with redis_errors():
            self._client.set(self._key(beat.worker_id), beat.model_dump_json(), px=self._keep_ms)

    def leave(self, worker_id: str) -> None:
        """Remove a node that ends."""
        with redis_errors():
            self._client.delete(self._key(worker_id), self._drain_key(worker_id))

    def alive(self) -> list[WorkerBeat]:
        """Return the nodes that are alive, sorted by id."""
        with redis_errors():
            keys = sorted(self._client.scan_iter(match=self._key("*"), count=500))
        return self._read([key.removeprefix(self._key("")) for key in keys])

    def drain(self, worker_id: str) -> WorkerBeat | None:
        """Ask a node to release its job and end; return it as draining, or None when it is not alive.

        The request is for this run of the node: a later run under the same name does not get it.

        Raises:
            WorkerTooOld: when the node's release knows no such request.
        """
        for beat in self._read([worker_id]):
            if not beat.can_drain:
                raise WorkerTooOld(
                    f"worker '{worker_id}' understands protocol {beat.protocol}; "
                    f"a drain needs {DRAIN_PROTOCOL}"
                )
            with redis_errors():
                self._client.set(self._drain_key(worker_id), _run_of(beat), ex=_DRAIN_SECONDS)
            return beat.model_copy(update={"state": WorkerState.DRAINING})
        return None

    def is_drain_asked(self, beat: WorkerBeat) -> bool:
        """Whether this run of a node was asked to drain."""
        with redis_errors():
            return self._client.get(self._drain_key(beat.worker_id)) == _run_of(beat)

    def _read(self, worker_ids: list[str]) -> list[WorkerBeat]:
        """Return those of the nodes that are alive; one that was asked to drain is returned as draining."""
        if not worker_ids:
            return []
        with redis_errors():
            texts = self._client.mget([self._key(worker_id) for worker_id in worker_ids])
            drains = self._client.mget([self._drain_key(worker_id) for worker_id in worker_ids])
        beats = []
        for text, drain in zip(texts, drains, strict=True):
            try:
                beat = WorkerBeat.model_validate_json(text) if text is not None else None
            except ValidationError:
                continue  # a node of another version during an upgrade
            if beat is not None:
                asked = drain == _run_of(beat)
                beats.append(beat.model_copy(update={"state": WorkerState.DRAINING}) if asked else beat)
        return beats

    def _key(self, worker_id: str) -> str:
        return self._names.key("worker", worker_id)

    def _drain_key(self, worker_id: str) -> str:
        return self._names.key("drain", worker_id)


def _run_of(beat: WorkerBeat) -> str:
    return beat.started_at.isoformat()

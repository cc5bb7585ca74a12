"""The registry of workers: each node sends a heartbeat every few seconds, and is gone without one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated, Any

import redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import InvalidSettings, WorkerTooOld
from shared.logs import get_logger
from shared.options import Method
from shared.protocol import DRAIN_PROTOCOL, Count, Moment, Word
from shared.redis.connection import redis_errors
from shared.redis.names import Names

#: Stores a beat with the moment of Redis' own clock, unless another run of the name has its place. The beat
#: of a run that is known to be dead gives way, and so does anything that is no beat.
_BEAT = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and ARGV[2] ~= '' then
  local is_beat, other = pcall(cjson.decode, held)
  if is_beat and type(other) == 'table' and other.worker_id then
    local run, stamp = tostring(other.run or ''), tostring(other.stamp or other.at or '')
    if run ~= ARGV[2] and (run ~= ARGV[4] or stamp ~= ARGV[5]) then return held end
  end
end
local time = redis.call('TIME')
local stamp = time[1] .. string.format('%06d', time[2])
redis.call('SET', KEYS[1], string.sub(ARGV[1], 1, -2) .. ',"stamp":"' .. stamp .. '"}', 'PX', ARGV[3])
return false
"""

#: Removes what is of one run.
_LEAVE = """
local held = redis.pcall('GET', KEYS[1])
local is_beat, other = pcall(cjson.decode, type(held) == 'string' and held or '')
if is_beat and type(other) == 'table' and other.run and other.run ~= '' and other.run ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
"""

#: As the keys of a job's labels; a value has the letters of both sizes, too.
_LABEL_KEY, _LABEL_VALUE = re.compile(r"[a-z0-9_.-]{1,63}"), re.compile(r"[A-Za-z0-9_.-]{1,63}")
_MOST_LABELS = 16
#: Long enough for a node that does not reach Redis for a while; the request names one run of a node.
_DRAIN_SECONDS = 3600
_log = get_logger(__name__)


def read_labels(told: str) -> dict[str, str]:
    """Return the labels of a worker from ``zone=a,class=big``; an empty text has none.

    Raises:
        InvalidSettings: when a part is no label, when there are too many, or when a key is there twice.
    """
    labels: dict[str, str] = {}
    for part in (part.strip() for part in told.split(",")) if told.strip() else ():
        key, separator, value = part.partition("=")
        if not (separator and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
            raise InvalidSettings(
                f"--labels has '{part}'; a label is KEY=VALUE, each of 1 to 63 letters, digits and . _ -, "
                "with small letters in the key"
            )
        if key in labels:
            raise InvalidSettings(f"--labels has '{key}' twice")
        labels[key] = value
    if len(labels) > _MOST_LABELS:
        raise InvalidSettings(f"--labels has {len(labels)} labels; allowed are {_MOST_LABELS}")
    return labels


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
    attempt: Count
    step: Count
    steps: Annotated[int, Field(ge=1, le=2**53)]
    since: Moment


class WorkerBeat(BaseModel):
    """What a node says of itself.

    The memory is the GPU's, or the machine's for a node on the CPU; None where it cannot be measured.
    """

    model_config = ConfigDict(frozen=True)

    worker_id: str
    host: str = ""
    device: str
    memory_total_bytes: Count | None = None
    memory_used_bytes: Count | None = None
    #: The most that the node's process could take of it with a job in it; None of an older release, too.
    job_memory_bytes: Count | None = None
    #: The room of the storage's file system as the node sees it; None where it is not measured.
    storage_total_bytes: Count | None = None
    storage_free_bytes: Count | None = None
    weights: str
    #: What it serves; a node of an older release, which does not say, serves the optimisation alone.
    methods: Annotated[list[Word], Field(max_length=100)] = [Method.GATYS.value]
    #: By method what decides the bytes beside the job itself; empty of an older release.
    numerics: Annotated[dict[Word, Word], Field(max_length=100)] = {}
    #: By method why its machine cannot serve what the node would; a node of an older release does not say.
    not_served: Annotated[dict[Word, str], Field(max_length=100)] = {}
    #: What its machine's operator says of it; empty of an older release.
    labels: Annotated[dict[Word, Word], Field(max_length=100)] = {}
    notice: str | None = None
    state: WorkerState = WorkerState.IDLE
    #: Why an unhealthy node takes no jobs.
    reason: str | None = None
    #: How many jobs it handed back since it was started because it may be at fault itself.
    faults: int = 0
    job: WorkerJob | None = None
    version: str = ""
    #: Which code of that version; empty for a node that does not say.
    build: str = ""
    #: What the node understands; see `shared.protocol.PROTOCOL`.
    protocol: int = 0
    started_at: Moment
    at: Moment
    #: Which run of the name this is; empty for a node that does not say.
    run: str = ""
    #: Which process this is, as `shared.processes.this_process` tells it.
    process: str = ""
    #: When Redis stored it, by Redis' clock, in microseconds since 1970; empty for an older node.
    stamp: Annotated[str, Field(max_length=20)] = ""
    #: How old it is by Redis' clock; None for a node of an older release, and for one not read from Redis.
    age_seconds: float | None = Field(None, exclude=True)

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

    def serves(self, methods: Collection[str]) -> bool:
        """Whether this node can carry out a job that needs all of these methods."""
        return set(methods) <= set(self.methods)

    @property
    def can_drain(self) -> bool:
        """Whether this node's release does what `WorkerRegistry.drain` asks."""
        return self.protocol >= DRAIN_PROTOCOL

    @property
    def mark(self) -> str:
        """What is another for each beat of a run."""
        return self.stamp or self.at.isoformat()


class WorkerRegistry:
    """All nodes that are alive. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis, names: Names, *, worker_seconds: float = 30) -> None:
        self._client = client
        self._names = names
        self._keep_ms = int(worker_seconds * 1000)
        self._beat = client.register_script(_BEAT)
        self._leave = client.register_script(_LEAVE)

    def beat(self, beat: WorkerBeat, *, instead_of: WorkerBeat | None = None) -> WorkerBeat | None:
        """Store a node's heartbeat.

        Returns:
            None; or, when another run has the name, that one's beat, and nothing is stored. The beat of a run
            that is known to be dead is replaced when it is given as `instead_of`.
        """
        dead = ("", "") if instead_of is None else (instead_of.run, instead_of.mark)
        text, keys = beat.model_dump_json(exclude={"stamp"}), [self._key(beat.worker_id)]
        with redis_errors():
            held = self._beat(keys=keys, args=[text, beat.run, self._keep_ms, *dead])
            other = None if held is None else _read_beat(held)
            if held is not None and other is None:
                self._beat(keys=keys, args=[text, "", self._keep_ms, *dead])
        return other

    def leave(self, worker_id: str, *, run: str = "") -> None:
        """Remove a node that ends; another run that has its name stays."""
        with redis_errors():
            self._leave(keys=[self._key(worker_id), self._drain_key(worker_id)], args=[run])

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
            asked = self._client.mget([self._drain_key(beat.worker_id)])[0]
        # A control of an older release names the run by its start.
        return asked in (_run_of(beat), beat.started_at.isoformat())

    def _read(self, worker_ids: list[str]) -> list[WorkerBeat]:
        """Return those of the nodes that are alive; one that was asked to drain is returned as draining."""
        if not worker_ids:
            return []
        with redis_errors():
            texts = self._client.mget([self._key(worker_id) for worker_id in worker_ids])
            drains = self._client.mget([self._drain_key(worker_id) for worker_id in worker_ids])
            seconds, microseconds = self._client.time()
        now = seconds * 10**6 + microseconds
        beats = []
        for text, drain in zip(texts, drains, strict=True):
            beat = _read_beat(text) if text is not None else None
            if beat is None:
                continue
            changes: dict[str, Any] = {}
            if beat.stamp.isdecimal():
                changes["age_seconds"] = max(0.0, (now - int(beat.stamp)) / 10**6)
            if drain in (_run_of(beat), beat.started_at.isoformat()):
                changes["state"] = WorkerState.DRAINING
            beats.append(beat.model_copy(update=changes))
        return beats

    def _key(self, worker_id: str) -> str:
        return self._names.key("worker", worker_id)

    def _drain_key(self, worker_id: str) -> str:
        return self._names.key("drain", worker_id)


def _run_of(beat: WorkerBeat) -> str:
    return beat.run or beat.started_at.isoformat()


def _read_beat(text: str | bytes) -> WorkerBeat | None:
    """Return the beat in a text; None when it is none, or of another version during an upgrade."""
    try:
        # Its age no node tells itself.
        return WorkerBeat.model_validate_json(text).model_copy(update={"age_seconds": None})
    except (ValidationError, UnicodeError) as error:
        _log.warning("beat_unreadable", reason=str(error))
        return None

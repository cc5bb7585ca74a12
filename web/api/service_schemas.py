"""The shapes of the answers about the service itself: its workers, its queue, its room and its health."""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.redis.workers import WorkerState
from web.api.schemas import Moment


class WorkerMemoryOut(BaseModel):
    """The memory of a worker's device: the GPU's, or the machine's for a worker on the CPU."""

    total_bytes: int | None = Field(description="`null` where it cannot be measured")
    used_bytes: int | None = Field(description="By whatever program; null where it cannot be measured")
    job_bytes: int | None = Field(
        description="The most that the worker's process could take with a job in it, as seen within the last "
        "hour; null where it does not say"
    )


class RoomOut(BaseModel):
    """The room of the file system that files lie on, in bytes."""

    total_bytes: int | None = Field(description="`null` where it cannot be measured")
    free_bytes: int | None = Field(description="`null` where it cannot be measured")


class RoomsOut(BaseModel):
    """The room left as the web host sees it."""

    storage: RoomOut
    database: RoomOut
    min_free_bytes: int = Field(
        description="With less than this left of one of them, no new work is taken in"
    )


class WorkerJobOut(BaseModel):
    """The job that a worker is busy with."""

    id: str
    name: str | None = Field(
        description="What people call it: its name, else its pictures; null if it is gone"
    )
    attempt: int
    step: int = Field(description="As of the last beat, about a second ago")
    steps: int
    since: Moment = Field(description="When the worker took it")
    url: str


class WorkerUrlsOut(BaseModel):
    """Where to go from here."""

    drain: str | None = Field(description="For POST; null once it is draining")


class WorkerOut(BaseModel):
    """A worker: one node, on one device."""

    id: str
    host: str
    device: str
    memory: WorkerMemoryOut
    storage: RoomOut = Field(description="As this worker sees the storage")
    weights: str
    methods: list[str] = Field(description="The methods that it serves; `gatys` of an older release")
    not_served: dict[str, str] = Field(
        description="By method why its machine cannot serve what the worker would, such as a model that is "
        "not installed. Empty of an older release"
    )
    numerics: dict[str, str] = Field(
        description="By method what decides the bytes beside the job: device and libraries. Workers with "
        "the same make the same bytes. Empty of an older release"
    )
    labels: dict[str, str] = Field(
        description="What its operator says of it (`--labels`), such as a zone. Empty of an older release"
    )
    notice: str | None = Field(description="Something one should know of the weights")
    state: WorkerState = Field(
        description="`starting`: its engine is being loaded; `draining`: it hands its job back and ends; "
        "`unhealthy`: it takes no jobs for now"
    )
    reason: str | None = Field(description="Why an unhealthy worker takes no jobs")
    faults: int = Field(
        description="Jobs that it handed back since it was started because it may be at fault itself"
    )
    job: WorkerJobOut | None
    version: str
    build: str = Field(description="Which code of that version: a digest; empty for an older release")
    protocol: int = Field(description="What it understands; a drain needs 1")
    started_at: Moment
    heartbeat_age_seconds: float = Field(
        ge=0, description="It says so every 5 s, and at once when something changes"
    )
    urls: WorkerUrlsOut


class WorkersOut(BaseModel):
    """The workers that are connected."""

    workers: list[WorkerOut] | None = Field(description="By id; null while Redis cannot be asked")
    room: RoomsOut
    message: str | None = Field(description="Why no job can start, if there is a reason")


class QueueStateOut(BaseModel):
    """The queue of all jobs."""

    depth: int = Field(description="Jobs that wait for a worker")
    waiting_for_others: int = Field(
        description="Jobs that wait for the result of another one with the same work; not in `depth`"
    )
    running: int = Field(description="Jobs that workers have, those being canceled included")
    paused: int
    oldest_age_seconds: float | None = Field(
        description="How long the first of `depth` has waited; null when none waits"
    )
    backlog_seconds: float | None = Field(
        description="Likely wait of a job submitted now; null without a worker, or while nothing is measured"
    )
    backlog_low_seconds: float | None = Field(None, description="Few jobs submitted now would wait less")
    backlog_high_seconds: float | None = Field(None, description="Few jobs submitted now would wait more")
    told_waits: int = Field(
        0,
        description="Of the last 200 jobs that began: how many had been told a wait when they were submitted",
    )
    told_waits_kept: float | None = Field(
        None,
        description="The share of `told_waits` that began between low and high as told then, or 2 s off; "
        "null while there are none",
    )
    workers: int | None = Field(description="Workers that take jobs; null while Redis cannot be asked")
    message: str | None = Field(description="Why no job can start, if there is a reason")


class HealthOut(BaseModel):
    """A sign of life."""

    status: str


class CheckOut(BaseModel):
    """One part of the service."""

    ok: bool
    detail: str | None = None


class ReadinessOut(BaseModel):
    """Whether jobs are taken; degraded means that they are, but do not start for now."""

    ready: bool
    degraded: bool
    checks: dict[str, CheckOut]

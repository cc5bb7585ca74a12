"""The shapes of workers and of the queue in answers; the OpenAPI document is made from them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.coordination.workers import WorkerState
from web.api.shapes import Moment


class WorkerMemoryOut(BaseModel):
    """The memory of a worker's device: the GPU's, or the machine's for a worker on the CPU."""

    total_bytes: int | None = Field(description="null where it cannot be measured")
    used_bytes: int | None = Field(description="By whatever program; null where it cannot be measured")


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
    weights: str
    notice: str | None = Field(description="Something one should know of the weights")
    state: WorkerState = Field(
        description="starting: its engine is being loaded; draining: it hands its job back and ends"
    )
    job: WorkerJobOut | None
    version: str
    started_at: Moment
    heartbeat_age_seconds: float = Field(
        ge=0, description="It says so every 5 s, and at once when something changes"
    )
    urls: WorkerUrlsOut


class WorkersOut(BaseModel):
    """The workers that are connected."""

    workers: list[WorkerOut] | None = Field(description="By id; null while Redis cannot be asked")
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
        description="Likely wait of a job handed in now; null without a worker, or while nothing is measured"
    )
    workers: int | None = Field(description="Workers that take jobs; null while Redis cannot be asked")
    message: str | None = Field(description="Why no job can start, if there is a reason")

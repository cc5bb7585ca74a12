"""The shape of a job in answers; the OpenAPI document is made from it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.status import JobStatus
from web.api.shapes import Moment, Options


class QueueOut(BaseModel):
    """The job's place in the queue."""

    position: int | None = Field(
        description="1 is the next to be taken; a job that waits for another one has its place, "
        "and null once that one is being worked on"
    )
    ahead_seconds: float | None = Field(description="Likely wait; null while nothing is measured yet")
    eligible_workers: int | None = Field(description="Workers connected; null while Redis is away")
    message: str | None = Field(description="Why the job does not start, if there is a reason")


class EtaOut(BaseModel):
    """When the job is likely to be done."""

    seconds: float


class InputOut(BaseModel):
    """One picture that the job works with."""

    asset_id: str
    sha256: str
    filename: str
    width: int
    height: int
    url: str


class InputsOut(BaseModel):
    """Both pictures."""

    content: InputOut
    style: InputOut


class LossOut(BaseModel):
    """The loss and its parts."""

    total: float | None
    content: float | None
    style: float | None


class ProgressOut(BaseModel):
    """How far the job is."""

    value: float = Field(ge=0, le=1, description="step / steps")
    step: int
    steps: int
    loss: LossOut | None
    steps_per_second: float | None


class JobAttemptOut(BaseModel):
    """The attempt that counts now."""

    number: int
    max: int
    worker_id: str | None
    device: str | None
    resumed_from_step: int | None


class WeightsOut(BaseModel):
    """The network's weights in use."""

    name: str
    sha256: str | None = None
    notice: str | None = Field(None, description="Something one should know of them")


class OutputOut(BaseModel):
    """A picture that the job hands out."""

    name: str
    content_type: str
    size_bytes: int
    sha256: str
    width: int
    height: int
    url: str | None


class JobErrorOut(BaseModel):
    """Why the job failed."""

    code: str
    title: str
    detail: str
    retryable: bool
    suggestion: str | None = None


class MetricsOut(BaseModel):
    """What was measured."""

    queue_seconds: float | None
    run_seconds: float | None
    gpu_peak_bytes: int | None


class UrlsOut(BaseModel):
    """Where to go from here; null is a transition not legal now, or an output not there yet."""

    self: str
    events: str
    preview: str
    thumbnail: str = Field(
        description="Another address whenever it may be another picture: keep it as long as you like"
    )
    output: str | None
    checkpoints: str
    attempts: str
    cancel: str | None
    pause: str | None
    resume: str | None
    retry: str | None
    extend: str | None
    fork: str | None = Field(description="null as well while no checkpoint can exist")
    delete: str | None = Field(description="For DELETE: the job itself, once it has ended")


class OriginOut(BaseModel):
    """The checkpoint that a job begins with: of the job it was forked from, or its own if it was extended."""

    job_id: str
    step: int


class JobOut(BaseModel):
    """A job."""

    id: str
    name: str | None
    status: JobStatus
    status_reason: str | None
    version: int = Field(description="The number of its last durable event")
    created_at: Moment
    started_at: Moment | None
    completed_at: Moment | None
    expires_at: Moment | None = Field(
        description="When it may be removed; null while it has not ended, or when jobs are kept for ever"
    )
    queue_deadline: Moment | None = Field(description="If it has not been started by then, it expires")
    run_timeout_seconds: float | None = Field(description="An attempt that runs for longer fails")
    leader_id: str | None = Field(
        description="The job with the same work that this one waits for, or whose result it was given"
    )
    priority: int
    labels: dict[str, str]
    batch_id: str | None
    queue: QueueOut | None = Field(description="Only while it is queued")
    eta: EtaOut | None = Field(description="Only while it is running and its speed is known")
    input: InputsOut
    options: Options
    origin: OriginOut | None = Field(description="Only of a job that was forked or extended")
    progress: ProgressOut
    attempt: JobAttemptOut
    weights: WeightsOut | None = Field(description="Known from the first claim on")
    engine_version: str | None
    outputs: list[OutputOut]
    error: JobErrorOut | None
    metrics: MetricsOut
    urls: UrlsOut


class JobListOut(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobOut]
    next_page_token: str | None
    counts: dict[str, int] | None = Field(description="By status, only if they were asked for")

"""The shapes of the answers about pictures and jobs; the OpenAPI document is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema, create_model, model_validator

from shared.clock import to_rfc3339
from shared.protocol import UNTRAINED
from shared.status import HIGHEST_PRIORITY, JobKind, JobStatus
from web.jobs.estimates import Forecast, run_message, wait_message
from web.jobs.fields import EventName
from web.jobs.states import REQUESTS

Moment = Annotated[
    datetime,
    PlainSerializer(to_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T08:47:41.120Z"]}),
]
#: Every option; `web.api.openapi` turns x-ref into a reference.
Options = Annotated[dict[str, Any], WithJsonSchema({"x-ref": "StyleOptions"})]


class AssetOut(BaseModel):
    """An uploaded picture."""

    id: str
    sha256: str
    filename: str
    content_type: str
    size_bytes: int
    width: int = Field(description="Pixels, as people see the picture (EXIF orientation applied)")
    height: int = Field(description="Pixels")
    created_at: Moment
    starred_at: Moment | None = Field(description="Since when it has a star; null where it has none")
    url: str = Field(description="Where its bytes are")


class AssetListOut(BaseModel):
    """A page of assets, newest first."""

    assets: list[AssetOut]
    next_page_token: str | None


class QueueOut(BaseModel):
    """The job's place in the queue."""

    position: int | None = Field(
        description="1 is the next to be taken; a job that waits for another one has its place, "
        "and null once that one is being worked on"
    )
    ahead_seconds: float | None = Field(
        description="Likely wait, by the time left of what runs and the estimates of what waits; "
        "null while nothing is measured yet"
    )
    low_seconds: float | None = Field(None, description="Few jobs wait less")
    high_seconds: float | None = Field(None, description="Few jobs wait more")
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

    value: float = Field(ge=0, le=1, description="The share that is done: step / steps")
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
    notice: str | None = Field(None, description="Something one should know of them, in a few words")

    @model_validator(mode="after")
    def _in_a_few_words(self) -> WeightsOut:
        """Earlier releases stored sentences, with places in the worker's file system."""
        if self.notice and self.name == "untrained":
            self.notice = UNTRAINED
        return self


class OutputOut(BaseModel):
    """A picture of the result."""

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


class _UrlsOut(BaseModel):
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


_ACTION_URLS: dict[str, Any] = {trigger.value: (str | None, ...) for trigger in REQUESTS}
_ACTION_URLS["fork"] = (
    str | None,
    Field(description="`null` as well while no checkpoint can exist, except of the method `fast`"),
)
_ACTION_URLS["change"] = (
    str | None,
    Field(description="For PATCH: the job itself, while it is queued or paused"),
)
_ACTION_URLS["delete"] = (str | None, Field(description="For DELETE: the job itself, once it has ended"))
UrlsOut = create_model("UrlsOut", __base__=_UrlsOut, __doc__=_UrlsOut.__doc__, **_ACTION_URLS)


class OriginOut(BaseModel):
    """The checkpoint that a job begins with: of the job it was forked from, or its own if it was extended."""

    job_id: str
    step: int


class JobOut(BaseModel):
    """A job."""

    id: str
    kind: JobKind
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
    priority: int = Field(
        description=f"From 0, which can wait longest, to {HIGHEST_PRIORITY}, which goes first"
    )
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
    numerics: str | None = Field(
        description="What its last checkpoint, or its result, was computed with: device and libraries. It "
        "goes on where these are the same, or elsewhere after ATELIER_EXACT_SECONDS. `null` is not known"
    )
    exact: bool | None = Field(
        description="Whether all steps were computed alike, so that the result has the bytes of a job that "
        "ran through there; false if it went on elsewhere, null while nobody knows"
    )
    outputs: list[OutputOut]
    error: JobErrorOut | None
    metrics: MetricsOut
    urls: UrlsOut


class MessageOut(BaseModel):
    """What a webhook is told."""

    type: EventName
    timestamp: Moment = Field(description="When it happened")
    data: JobOut = Field(description="The job as it was then")


class JobListOut(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobOut]
    next_page_token: str | None
    counts: dict[str, int] | None = Field(description="By status, only if they were asked for")


class CheckpointOut(BaseModel):
    """A checkpoint."""

    step: int
    attempt: int
    losses: dict[str, float | None]
    curve: list[list[float]] = Field(
        description="[step, total, content, style] of each step since the checkpoint before"
    )
    sha256: str = Field(description="Of its state, from which a job resumes")
    numerics: str | None = Field(description="What it was computed with; null where it does not say")
    created_at: Moment
    has_state: bool = Field(description="Whether its state is kept, so that a job can be forked from it")
    content_type: str = Field(description="Of its picture")
    url: str = Field(description="Where its picture is")


class CheckpointsOut(BaseModel):
    """All checkpoints of a job, by step."""

    checkpoints: list[CheckpointOut]


class AttemptOut(BaseModel):
    """One attempt of a job."""

    number: int
    worker_id: str | None
    device: str | None
    resumed_from_step: int | None
    started_at: Moment | None
    ended_at: Moment | None
    outcome: str | None = Field(description="`null` while it is under way")
    numerics: str | None = Field(description="What it computes with; null where its worker does not say")
    exact: bool | None = Field(
        description="Whether the checkpoint that it went on from, if any, was computed with the same; "
        "null where nobody knows"
    )


class AttemptsOut(BaseModel):
    """All attempts of a job, first to last."""

    attempts: list[AttemptOut]


class EstimateOut(BaseModel):
    """How long a job would run, from what the last jobs took on this service, and what it would wait for."""

    seconds: float | None = Field(
        description="From its first step to its result; null: nothing is measured yet"
    )
    low: float | None = Field(description="Few jobs take less")
    high: float | None = Field(description="Few jobs take more")
    count: int = Field(description="How many jobs this was measured at")
    message: str = Field(description="The same in words")
    queue: QueueOut


class SizeOut(BaseModel):
    """A size in pixels."""

    width: int
    height: int


class WorkingSizesOut(BaseModel):
    """The sizes at which both pictures are taken in; `fast` cuts its style into squares after that."""

    content: SizeOut
    style: SizeOut


class NeededMemoryOut(BaseModel):
    """The memory of the worker that could hold a job best; of the GPU for one on a GPU."""

    needed_bytes: int | None = Field(
        description="What its process would take with the job, give or take 15 %. While no worker says how "
        "much it has: on a CPU; null where nothing is known of such a job"
    )
    available_bytes: int | None = Field(
        description="The most that its process could take; null while no worker says so"
    )


class ValidationOut(BaseModel):
    """What a job would be carried out with; nothing of it is stored."""

    options: Options
    working_size: WorkingSizesOut
    memory: NeededMemoryOut
    estimate: EstimateOut


def estimate_out(forecast: Forecast) -> EstimateOut:
    """Return a forecast as the API shows it."""
    run = forecast.run
    return EstimateOut(
        seconds=run and run.seconds,
        low=run and run.low,
        high=run and run.high,
        count=run.count if run else 0,
        message=run_message(run),
        queue=QueueOut(
            position=forecast.position,
            ahead_seconds=forecast.ahead_seconds,
            low_seconds=forecast.ahead_low,
            high_seconds=forecast.ahead_high,
            eligible_workers=forecast.workers,
            message=wait_message(forecast),
        ),
    )


class FaultOut(BaseModel):
    """One fault in a request."""

    pointer: str = Field(
        description="JSON pointer to it: into the body, such as /options/steps, to a part, or to a parameter "
        "by its name, such as /page_size; empty for the whole body"
    )
    code: str
    detail: str


class ProblemOut(BaseModel):
    """A problem as RFC 9457 has it, with a stable code."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What was measured and what is allowed")
    instance: str
    code: str
    errors: list[FaultOut]
    suggestion: str | None = None

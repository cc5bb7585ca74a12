"""A job as the API shows it: read, as JSON, with its ETag."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from shared.errors import JobUnreadable
from shared.logs import get_logger
from shared.options import Method, steps_of
from shared.redis.live import LiveProgress
from shared.status import JobKind, JobStatus
from web.address import link
from web.api import API_PATH
from web.api.schemas import (
    EtaOut,
    InputOut,
    InputsOut,
    JobAttemptOut,
    JobErrorOut,
    JobOut,
    LossOut,
    MetricsOut,
    OriginOut,
    OutputOut,
    ProgressOut,
    QueueOut,
    UrlsOut,
    WeightsOut,
)
from web.assets.thumbnails import thumbnail_version
from web.backend import Backend
from web.db.models import Asset, Job
from web.jobs.changing import labels_of
from web.jobs.estimates import QueueState, wait_ahead
from web.jobs.line import read_shared_queue
from web.jobs.mending import mend
from web.jobs.places import places_of
from web.jobs.queries import get_job, names_of_jobs
from web.jobs.retention import expires_at
from web.jobs.states import CHANGEABLE, REQUESTS, is_legal
from web.jobs.transitions import may_have_checkpoints

#: The statuses of which live progress tells.
LIVE = {JobStatus.RUNNING, JobStatus.CANCELING}
#: What a row makes go wrong that holds something else than we put there.
_UNREADABLE = (ValidationError, TypeError, KeyError, ValueError, AttributeError, ArithmeticError)
_log = get_logger(__name__)


def job_to_json(
    job: Job,
    *,
    live: LiveProgress | None,
    position: int | None,
    queue: QueueState | None,
    leader_name: str | None = None,
    retention_days: float = 0,
) -> dict[str, Any]:
    """Return the job as the API shows it.

    Args:
        job: The row.
        live: Its live progress, of whatever attempt.
        position: Its place in the queue, from 1; None when it is in no line.
        queue: What the whole queue looks like; needed when the job is queued.
        leader_name: What to call the job that this one waits for, if it waits for one.
        retention_days: How long a job is kept after its end; 0 is for ever.
    """
    live = live_part(job, live)
    error = JobErrorOut.model_validate(job.error) if job.error else None
    return JobOut(
        id=job.id,
        kind=job.kind,
        name=job.name or None,
        status=job.job_status,
        status_reason=job.status_reason,
        version=job.version,
        created_at=job.created_at,
        started_at=job.started_at,
        completed_at=job.completed_at,
        expires_at=expires_at(job.completed_at, retention_days=retention_days),
        queue_deadline=job.queue_deadline,
        run_timeout_seconds=_finite(job.run_timeout_seconds),
        leader_id=job.leader_id,
        priority=job.priority,
        labels=labels_of(job),
        batch_id=job.batch_id,
        queue=_queue(job, position, queue, leader_name)
        if job.job_status is JobStatus.QUEUED and queue
        else None,
        eta=eta_of(live) if job.job_status is JobStatus.RUNNING else None,
        input=InputsOut(content=_input(job.content), style=_input(job.style)),
        options=job.options,
        origin=OriginOut.model_validate(job.origin) if job.origin else None,
        progress=progress_of(job, live),
        attempt=JobAttemptOut(
            number=job.attempt,
            max=job.max_attempts,
            worker_id=job.worker_id,
            device=job.device,
            resumed_from_step=job.resumed_from_step,
        ),
        weights=WeightsOut.model_validate(job.weights) if job.weights else None,
        engine_version=job.engine_version,
        numerics=job.numerics,
        exact=job.is_exact,
        outputs=[_output(job, number) for number in range(len(job.outputs))],
        error=error,
        metrics=_metrics(job),
        urls=_urls(job, live),
    ).model_dump(mode="json")


def live_part(job: Job, live: LiveProgress | None) -> LiveProgress | None:
    """Return the live progress if it tells of this attempt, and more than the row does."""
    fits = live is not None and job.job_status in LIVE and live.attempt == job.attempt
    return live if fits and live is not None and live.step >= job.step else None


def progress_of(job: Job, live: LiveProgress | None) -> ProgressOut:
    """Return how far a job is: from its live progress, else from the last checkpoint in its row."""
    steps = steps_of(job.options)
    step = min(live.step if live else job.step, steps)
    loss = None
    if live:
        loss = _loss({"total": live.loss_total, "content": live.loss_content, "style": live.loss_style})
    elif job.losses:
        loss = _loss(job.losses)
    speed = _finite(live.steps_per_second) if live else None
    return ProgressOut(
        value=round(step / steps, 4), step=step, steps=steps, loss=loss, steps_per_second=speed
    )


def eta_of(live: LiveProgress | None) -> EtaOut | None:
    """Return how long the remaining steps will take at the speed measured last."""
    speed = _finite(live.steps_per_second) if live else None
    if live is None or not speed or speed < 0:
        return None
    return EtaOut(seconds=round((live.steps - live.step) / speed, 1))


def job_url(job_id: str, *parts: object) -> str:
    """Return the link to a job, or to something below it."""
    return link("/".join([f"{API_PATH}/jobs/{job_id}", *map(str, parts)]))


def _queue(job: Job, position: int | None, queue: QueueState, leader_name: str | None) -> QueueOut:
    message = queue.no_start
    if job.leader_id is not None:
        which = f"the job '{leader_name}'" if leader_name else "another job"
        message = f"waits for {which}, which does the same work"
    elif message is None and job.pinned_to is not None and job.dispatched_at is not None:
        message = f"goes on where it was begun, on {job.pinned_to}"
    wait = None if position is None else wait_ahead(position, queue)
    return QueueOut(
        position=position,
        ahead_seconds=None if wait is None else wait.likely,
        low_seconds=None if wait is None else wait.low,
        high_seconds=None if wait is None else wait.high,
        eligible_workers=queue.workers,
        message=message,
    )


def _input(asset: Asset) -> InputOut:
    return InputOut(
        asset_id=asset.id,
        sha256=asset.sha256,
        filename=asset.filename,
        width=asset.width,
        height=asset.height,
        url=link(f"{API_PATH}/assets/{asset.id}/content"),
    )


def _loss(values: Mapping[str, Any]) -> LossOut:
    return LossOut(**{part: _finite(values.get(part)) for part in LossOut.model_fields})


def _output(job: Job, number: int) -> OutputOut:
    # Only the first is served for now.
    url = job_url(job.id, "output") if number == 0 else None
    return OutputOut.model_validate({**job.outputs[number], "url": url})


def _metrics(job: Job) -> MetricsOut:
    queue_seconds, run_seconds = job.metrics.get("queue_seconds"), job.metrics.get("run_seconds")
    if queue_seconds is None and job.started_at is not None:
        queue_seconds = round((job.started_at - job.created_at).total_seconds(), 3)
    return MetricsOut(
        queue_seconds=_finite(queue_seconds),
        run_seconds=_finite(run_seconds),
        gpu_peak_bytes=job.metrics.get("gpu_peak_bytes"),
    )


def _urls(job: Job, live: LiveProgress | None) -> BaseModel:
    asked = {
        trigger.value: job_url(job.id, trigger.value) if is_legal(job.job_status, trigger) else None
        for trigger in REQUESTS
    }
    asked |= {
        "fork": job_url(job.id, "fork"),
        "change": job_url(job.id) if job.job_status in CHANGEABLE else None,
        "delete": job_url(job.id) if job.job_status.is_final else None,
    }
    if not may_have_checkpoints(job):
        asked |= {"extend": None}
        if job.options.get("method") != Method.FAST:
            asked |= {"fork": None}
    return UrlsOut(
        self=job_url(job.id),
        events=job_url(job.id, "events"),
        preview=job_url(job.id, "preview"),
        thumbnail=f"{job_url(job.id, 'thumbnail')}?v={thumbnail_version(job, live)}",
        output=job_url(job.id, "output") if job.outputs else None,
        checkpoints=job_url(job.id, "checkpoints"),
        attempts=job_url(job.id, "attempts"),
        **asked,
    )


def _finite(value: Any) -> float | None:  # noqa: ANN401 - from a JSON column
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _coarse(queue: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the queue with its waits in steps of about a third."""
    if queue is None:
        return None
    return {
        name: round(4 * math.log1p(value)) if name.endswith("_seconds") and value is not None else value
        for name, value in queue.items()
    }


@dataclass(frozen=True)
class JobView:
    """A job as it is shown now, and what that rests on beside its row; see `show_job`."""

    job: Job
    data: dict[str, Any]
    live: LiveProgress | None
    position: int | None = None
    queue: QueueState | None = None
    leader_name: str | None = None

    @property
    def etag(self) -> str:
        """The version, and a digest of all that is shown: live progress and the queue have no version.

        Of the waits only what people would call another: they change with every step of the jobs ahead, and
        who waits for a change would be answered at once, again and again.
        """
        text = json.dumps({**self.data, "queue": _coarse(self.data["queue"])}, sort_keys=True)
        return f"{self.job.version}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def read_view(backend: Backend, job_id: str, *, caller: str) -> JobView:
    """Return a job of a caller as it is shown now.

    Raises:
        NotFound: when there is none with this id.
    """
    return read_views(backend, lambda session: [get_job(session, job_id, caller=caller)])[0]


def read_shared_view(backend: Backend, job_id: str, *, caller: str, since: float) -> JobView:
    """Return a job as it was shown at some moment after `since`, by the clock of `time.monotonic`.

    For those who watch it: however many hear of a change, it is read once. What is returned is not changed.

    Raises:
        NotFound: when there is none with this id.
    """
    return backend.shared.get(
        ("job", caller, job_id), lambda: read_view(backend, job_id, caller=caller), since=since
    )


def read_views(backend: Backend, query: Callable[[Session], list[Job]]) -> list[JobView]:
    """Return the jobs that a query finds as they are shown now; Redis is asked after the session.

    The waits of those that are queued rest on what `read_shared_queue` tells; their places are those of now.

    A job whose row cannot be read is shown without what is wrong in it; one that cannot be shown even so is
    left out, unless it is the only one.

    Raises:
        JobUnreadable: when the only job cannot be shown.
    """
    with backend.database.read() as session:
        jobs = query(session)
        positions = places_of(session, jobs)
        names = _leader_names(session, jobs)
    live = backend.live.progress([job.id for job in jobs if job.status in LIVE])
    routes = {job.route for job in jobs if job.status == JobStatus.QUEUED.value}
    queues = {route: read_shared_queue(backend, route) for route in routes}
    views = []
    for job in jobs:
        try:
            view = show_job(
                backend,
                job,
                live=live.get(job.id),
                position=positions.get(job.id),
                queue=queues.get(job.route),
                leader_name=names.get(job.leader_id or ""),
            )
            views.append(view)
        except JobUnreadable as error:
            if len(jobs) == 1:
                raise
            _log.error("job_left_out", job_id=job.id, reason=error.detail)
    return views


def _leader_names(session: Session, jobs: list[Job]) -> dict[str, str]:
    """Return what to call the jobs that some of these wait for; all are of one caller."""
    waiting = [job for job in jobs if job.leader_id is not None and job.status == JobStatus.QUEUED.value]
    if not waiting:
        return {}
    ids = [job.leader_id for job in waiting if job.leader_id is not None]
    return names_of_jobs(session, ids, caller=waiting[0].caller)


def show_job(
    backend: Backend,
    job: Job,
    *,
    live: LiveProgress | None,
    position: int | None,
    queue: QueueState | None,
    leader_name: str | None,
) -> JobView:
    """Return a job that no session holds as it is shown; nobody is asked.

    Args:
        backend: Whose settings hold.
        job: The row; what cannot be read in it is mended.
        live: As `job_to_json` has it; so have all that follow.
        position: See there.
        queue: See there.
        leader_name: See there.

    Raises:
        JobUnreadable: when it cannot be shown even so.
    """
    settings = backend.settings
    kept_days = {JobKind.JOB: settings.retention_days, JobKind.DRAFT: settings.draft_hours / 24}

    def show() -> JobView:
        data = job_to_json(
            job,
            live=live,
            position=position,
            queue=queue,
            leader_name=leader_name,
            retention_days=kept_days.get(JobKind(job.kind), 0.0),
        )
        return JobView(job, data, live, position, queue, leader_name)

    try:
        return show()
    except _UNREADABLE:
        mend(job)
    try:
        return show()
    except _UNREADABLE as error:
        raise JobUnreadable(f"what is stored of the job cannot be shown: {error}") from error

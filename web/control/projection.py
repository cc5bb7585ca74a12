"""What a worker's report does to a job: the decision, and its writing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from shared.events import EventType, WorkerEvent
from shared.status import JobStatus
from web.models import Job
from web.repository.history import save_attempt, save_checkpoint
from web.repository.transitions import HistoryEntry, apply_trigger, write_changes
from web.states import PAUSING, Trigger, is_legal

_TRIGGERS = {
    EventType.CLAIMED: Trigger.CLAIMED,
    EventType.SUCCEEDED: Trigger.SUCCEEDED,
    EventType.FAILED: Trigger.FAILED,
    EventType.CANCELED: Trigger.CANCELED,
    EventType.PAUSED: Trigger.PAUSED,
    EventType.RELEASED: Trigger.RELEASED,
}
_REASONS = {Trigger.RELEASED: "worker_drained"}


@dataclass(frozen=True)
class Projection:
    """What to do with a report: pull a trigger, only note a checkpoint, or nothing, and why."""

    trigger: Trigger | None = None
    is_checkpoint: bool = False
    ignored: str | None = None


def decide_projection(
    status: JobStatus, attempt: int, event: WorkerEvent, *, pausing: bool = False
) -> Projection:
    """Decide what a report does to a job that is at `status` and `attempt`, and perhaps asked to pause."""
    if event.attempt != attempt:
        return Projection(ignored=f"it is of attempt {event.attempt}, the job is at {attempt}")
    if status.is_final:
        return Projection(ignored=f"the job is {status}")
    if event.type is EventType.CHECKPOINTED:
        return Projection(is_checkpoint=True)
    trigger = _TRIGGERS[event.type]
    if trigger is Trigger.RELEASED and pausing and status is JobStatus.RUNNING:
        # It was checkpointed and given back, if for another reason: that is all a pause asks for.
        trigger = Trigger.PAUSED
    if not is_legal(status, trigger):
        return Projection(ignored=f"'{trigger}' means nothing to a job that is {status}")
    return Projection(trigger=trigger)


def write_projection(
    session: Session, job: Job, event: WorkerEvent, projection: Projection, *, now: datetime
) -> None:
    """Write what was decided.

    Raises:
        StaleJob: when the job has changed since it was read.
    """
    if projection.is_checkpoint:
        _write_checkpoint(session, job, event.data, now=now)
    elif projection.trigger is Trigger.CLAIMED:
        _write_claim(session, job, event.data, now=now)
    elif projection.trigger is not None:
        _write_end(session, job, projection.trigger, event.data, now=now)


def _write_checkpoint(session: Session, job: Job, data: dict[str, Any], *, now: datetime) -> None:
    save_checkpoint(
        session,
        job.id,
        data["step"],
        attempt=job.attempt,
        key=data["key"],
        picture_key=data["picture_key"],
        sha256=data["sha256"],
        losses=data["losses"],
        # A worker of the version before sends none.
        curve=data.get("curve", []),
        created_at=now,
    )
    entry = HistoryEntry("checkpoint", {key: data[key] for key in ("step", "steps", "sha256", "losses")})
    write_changes(session, job, {"step": data["step"], "losses": data["losses"]}, now=now, entries=[entry])


def _write_claim(session: Session, job: Job, data: dict[str, Any], *, now: datetime) -> None:
    who = {key: data[key] for key in ("worker_id", "device", "resumed_from_step")}
    known = {key: getattr(job, key) for key in who}
    values: dict[str, Any] = {
        **who,
        "weights": data["weights"],
        "engine_version": data["engine_version"],
        "started_at": job.started_at or now,
        "metrics": {"queue_seconds": round((now - job.created_at).total_seconds(), 3), **job.metrics},
    }
    # A claim repeated because Redis had lost it is no news.
    repeated = job.job_status is not JobStatus.QUEUED and who == known
    entries = [] if repeated else [HistoryEntry("attempt", {"number": job.attempt, **who})]
    keep_reason = repeated or job.status_reason == PAUSING
    apply_trigger(
        session, job, Trigger.CLAIMED, now=now, reason=job.status_reason if keep_reason else None,
        values=values, entries=entries,
    )  # fmt: skip
    if not repeated:
        save_attempt(session, job.id, job.attempt, **who, started_at=now, ended_at=None, outcome=None)


def _write_end(session: Session, job: Job, trigger: Trigger, data: dict[str, Any], *, now: datetime) -> None:
    values: dict[str, Any] = {}
    entries: list[HistoryEntry] = []
    if trigger is Trigger.SUCCEEDED:
        values = {
            "step": data["step"],
            "losses": data["losses"],
            "outputs": data["outputs"],
            "weights": data["weights"],
            "engine_version": data["engine_version"],
            "metrics": {
                **job.metrics,
                "run_seconds": data["run_seconds"],
                "gpu_peak_bytes": data["gpu_peak_bytes"],
            },
        }
        entries = [HistoryEntry("output", public_output(output)) for output in data["outputs"]]
    elif trigger is Trigger.FAILED:
        values = {"error": data["error"]}
    apply_trigger(
        session, job, trigger, now=now, reason=_REASONS.get(trigger), values=values, entries=entries
    )
    save_attempt(session, job.id, job.attempt, ended_at=now, outcome=trigger.value)


def public_output(output: dict[str, Any]) -> dict[str, Any]:
    """Return what an event says of an output: everything but where it lies."""
    return {key: value for key, value in output.items() if key != "key"}

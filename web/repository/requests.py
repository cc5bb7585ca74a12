"""What people ask of a job, as writes of its row: cancel, pause, resume, retry, extend."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from shared.errors import NotReady
from shared.options import parse_options
from shared.status import JobStatus
from web.models import Job, JobCheckpoint
from web.repository.history import list_checkpoints
from web.repository.transitions import apply_trigger
from web.states import PAUSING, Trigger, next_status


def next_attempt(job: Job) -> dict[str, Any]:
    """Return the changes by which a job is due again, as its next attempt."""
    return {"attempt": job.attempt + 1, "dispatched_at": None, "worker_id": None, "device": None}


def cancel_job(session: Session, job: Job, *, now: datetime) -> None:
    """Cancel a job, or ask its worker to; asking twice is asking once.

    Raises:
        InvalidState: when the job has ended otherwise.
        StaleJob: when the job has changed since it was read. The same holds for all functions here.
    """
    apply_trigger(session, job, Trigger.CANCEL, now=now, values={"leader_id": None})


def pause_job(session: Session, job: Job, *, now: datetime) -> None:
    """Pause a queued job, or ask a running one's worker to checkpoint it and let go; may be repeated."""
    reason = PAUSING if job.job_status is JobStatus.RUNNING else None
    apply_trigger(session, job, Trigger.PAUSE, now=now, reason=reason, values={"leader_id": None})


def resume_job(session: Session, job: Job, *, now: datetime) -> None:
    """Queue a paused job again; it goes on from its last checkpoint, on any worker."""
    apply_trigger(session, job, Trigger.RESUME, now=now, values=_asked_again(job, now))


def retry_job(session: Session, job: Job, *, now: datetime, from_zero: bool = False) -> None:
    """Queue a job again that did not succeed; from its last checkpoint, unless it is to begin anew."""
    values = _asked_again(job, now) | {"error": None, "completed_at": None}
    if from_zero:
        session.execute(delete(JobCheckpoint).where(JobCheckpoint.job_id == job.id))
        values |= {"checkpoints_since": job.attempt + 1, "step": 0, "losses": None}
    apply_trigger(session, job, Trigger.RETRY, now=now, values=values)


def extend_job(session: Session, job: Job, *, steps: int, now: datetime) -> None:
    """Let a succeeded job make `steps` more steps from where it ended; it keeps its result meanwhile.

    Raises:
        NotReady: when the checkpoint of its last step is no longer kept.
        InvalidOptions: when that would be more steps than a job may have.
    """
    next_status(job.job_status, Trigger.EXTEND)
    options = parse_options({**job.options, "steps": job.options["steps"] + steps})
    last = [checkpoint for checkpoint in list_checkpoints(session, job.id) if checkpoint.step == job.step]
    if not last:
        raise NotReady(f"the checkpoint of step {job.step} is not kept; fork an earlier one instead")
    origin = {"job_id": job.id, "step": job.step, "key": last[0].key, "sha256": last[0].sha256}
    values = _asked_again(job, now) | {
        "options": options.model_dump(),
        "origin": origin,
        "checkpoints_since": job.attempt + 1,
        "completed_at": None,
        "work_sha256": None,
    }
    apply_trigger(session, job, Trigger.EXTEND, now=now, values=values)


def _asked_again(job: Job, now: datetime) -> dict[str, Any]:
    # A deadline counts for the wait that it was set for; whoever asks again sees the job wait.
    return next_attempt(job) | {
        "queued_at": now,
        "lost_workers": 0,
        "queue_deadline": None,
        "leader_id": None,
    }

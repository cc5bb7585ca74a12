"""What people ask of a job, as writes of its row: cancel, pause, resume, retry, extend, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from shared.errors import Fault, InvalidOptions, NotReady, NotTerminal, StaleJob
from shared.options import parse_options
from shared.status import JobStatus
from web.models import Job, JobCheckpoint
from web.repository.history import list_checkpoints
from web.repository.retention import delete_final_job
from web.repository.transitions import apply_trigger, write_changes
from web.states import PAUSING, Trigger, allowed_requests, next_status


def next_attempt(job: Job) -> dict[str, Any]:
    """Return the changes by which a job is due again, as its next attempt."""
    return {
        "attempt": job.attempt + 1,
        "dispatched_at": None,
        "worker_id": None,
        "device": None,
        "resumed_from_step": None,
    }


def cancel_job(session: Session, job: Job, *, now: datetime) -> None:
    """Cancel a job, or ask its worker to; asking twice is asking once.

    Raises:
        InvalidState: when the job has ended otherwise.
        StaleJob: when the job has changed since it was read. The same holds for all functions here.
    """
    was_asked = job.job_status in (JobStatus.CANCELING, JobStatus.CANCELED)
    _ask(session, job, Trigger.CANCEL, now=now, reason=None, was_asked=was_asked)


def pause_job(session: Session, job: Job, *, now: datetime) -> None:
    """Pause a queued job, or ask a running one's worker to checkpoint it and let go; may be repeated."""
    reason = PAUSING if job.job_status is JobStatus.RUNNING else None
    was_asked = job.job_status is JobStatus.PAUSED or job.status_reason == PAUSING
    _ask(session, job, Trigger.PAUSE, now=now, reason=reason, was_asked=was_asked)


def resume_job(session: Session, job: Job, *, now: datetime) -> None:
    """Queue a paused job again; it goes on from its last checkpoint, on any worker."""
    apply_trigger(session, job, Trigger.RESUME, now=now, values=_asked_again(job, now))


def retry_job(session: Session, job: Job, *, now: datetime, from_zero: bool = False) -> None:
    """Queue a job again that did not succeed; from its last checkpoint, unless it is to begin anew.

    Anew means: with the checkpoint of the job that it is a fork of, or else with the content picture.
    """
    values = _asked_again(job, now) | {"error": None, "completed_at": None}
    if from_zero:
        session.execute(delete(JobCheckpoint).where(JobCheckpoint.job_id == job.id))
        origin = fork_origin(job)
        values |= {
            "checkpoints_since": job.attempt + 1,
            "origin": origin,
            "step": origin["step"] if origin else 0,
            "losses": None,
        }
    apply_trigger(session, job, Trigger.RETRY, now=now, values=values)


def extend_job(session: Session, job: Job, *, steps: int, now: datetime) -> None:
    """Let a succeeded job make `steps` more steps from where it ended; it keeps its result meanwhile.

    Raises:
        NotReady: when the checkpoint of its last step is no longer kept.
        InvalidOptions: when that would be more steps than a job may have.
    """
    next_status(job.job_status, Trigger.EXTEND)
    total = int(job.options["steps"]) + steps
    try:
        options = parse_options({**job.options, "steps": total})
    except InvalidOptions as error:
        fault = Fault("/steps", "out_of_range", f"{steps} more would be {total} steps; {error.detail}")
        raise InvalidOptions(fault.detail, faults=(fault,)) from None
    last = last_checkpoint(session, job)
    origin = {"job_id": job.id, "step": job.step, "key": last.key, "sha256": last.sha256}
    values = _asked_again(job, now) | {
        "options": options.model_dump(),
        "origin": origin | {"fork": fork_origin(job)},
        "checkpoints_since": job.attempt + 1,
        "completed_at": None,
        "work_sha256": None,
    }
    apply_trigger(session, job, Trigger.EXTEND, now=now, values=values)


def last_checkpoint(session: Session, job: Job) -> JobCheckpoint:
    """Return the checkpoint of a job's last step.

    Raises:
        NotReady: when it is not kept.
    """
    kept = list_checkpoints(session, job.id)
    last = [checkpoint for checkpoint in kept if checkpoint.step == job.step]
    if not last:
        raise NotReady(
            f"the checkpoint of step {job.step} is not kept"
            + ("; fork an earlier one instead" if kept else ", nor is any other")
        )
    return last[0]


def fork_origin(job: Job) -> dict[str, Any] | None:
    """Return the checkpoint of another job that this one began with, also after it was extended."""
    if job.origin is None or job.origin["job_id"] != job.id:
        return job.origin
    found: dict[str, Any] | None = job.origin.get("fork")
    return found


def delete_job(session: Session, job: Job) -> None:
    """Remove a job that has ended, with its history; its files are to go after that.

    Raises:
        NotTerminal: when it has not ended.
    """
    if not job.job_status.is_final:
        raise NotTerminal(
            f"the job is {job.status}; it can be deleted only when it has ended; "
            f"allowed now: {', '.join(allowed_requests(job.job_status))}"
        )
    if not delete_final_job(session, job.id, version=job.version):
        raise StaleJob(f"job {job.id} is no longer at version {job.version}")


def _ask(
    session: Session, job: Job, trigger: Trigger, *, now: datetime, reason: str | None, was_asked: bool
) -> None:
    """Write a request; one that was made before changes nothing, not even why the job is as it is."""
    values = {"leader_id": None}
    if was_asked and next_status(job.job_status, trigger) is job.job_status:
        write_changes(session, job, values, now=now)
    else:
        apply_trigger(session, job, trigger, now=now, reason=reason, values=values)


def _asked_again(job: Job, now: datetime) -> dict[str, Any]:
    # A deadline counts for the wait that it was set for; whoever asks again sees the job wait.
    return next_attempt(job) | {
        "queued_at": now,
        "lost_workers": 0,
        "queue_deadline": None,
        "leader_id": None,
    }

"""A job's past in the database: events, attempts, checkpoints, and the inbox of applied reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.errors import NotFound
from web.models import InboxEntry, JobAttempt, JobCheckpoint, JobEvent


def events_after(session: Session, job_id: str, sequence: int, *, limit: int = 500) -> list[JobEvent]:
    """Return a job's events with a higher sequence, in order."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.sequence > sequence)
    return list(session.scalars(query.order_by(JobEvent.sequence).limit(limit)))


def list_attempts(session: Session, job_id: str) -> list[JobAttempt]:
    """Return a job's attempts, first to last."""
    query = select(JobAttempt).where(JobAttempt.job_id == job_id)
    return list(session.scalars(query.order_by(JobAttempt.number)))


def list_checkpoints(session: Session, job_id: str) -> list[JobCheckpoint]:
    """Return a job's checkpoints by step."""
    query = select(JobCheckpoint).where(JobCheckpoint.job_id == job_id)
    return list(session.scalars(query.order_by(JobCheckpoint.step)))


def get_checkpoint(session: Session, job_id: str, step: int) -> JobCheckpoint:
    """Return the checkpoint at a step.

    Raises:
        NotFound: when there is none.
    """
    checkpoint = session.get(JobCheckpoint, (job_id, step))
    if checkpoint is None:
        raise NotFound(f"job '{job_id}' has no checkpoint at step {step}")
    return checkpoint


def save_attempt(session: Session, job_id: str, number: int, **values: Any) -> None:  # noqa: ANN401 - columns
    """Add an attempt, or change what is known of it."""
    attempt = session.get(JobAttempt, (job_id, number))
    if attempt is None:
        attempt = JobAttempt(job_id=job_id, number=number)
        session.add(attempt)
    for name, value in values.items():
        setattr(attempt, name, value)
    session.flush()


def save_checkpoint(session: Session, checkpoint: JobCheckpoint) -> None:
    """Add a checkpoint; the same step of a later attempt takes its place."""
    session.merge(checkpoint)
    session.flush()


def enter_inbox(session: Session, event_id: str, *, now: datetime) -> bool:
    """Note that a report is being applied; False when it was applied before."""
    try:
        with session.begin_nested():
            session.add(InboxEntry(event_id=event_id, received_at=now))
    except IntegrityError:
        return False
    return True

"""A job's past in the database: events, attempts, checkpoints, and the inbox of applied reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from shared.errors import NotFound
from web.models import Base, InboxEntry, JobAttempt, JobCheckpoint, JobEvent


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
    _save(session, JobAttempt, {"job_id": job_id, "number": number}, values)


def save_checkpoint(session: Session, job_id: str, step: int, **values: Any) -> None:  # noqa: ANN401 - columns
    """Add a checkpoint; the same step of a later attempt takes its place."""
    _save(session, JobCheckpoint, {"job_id": job_id, "step": step}, values)


def enter_inbox(session: Session, event_ids: Sequence[str], *, now: datetime) -> set[str]:
    """Note that reports are being applied; return those that were not applied before."""
    query = select(InboxEntry.event_id).where(InboxEntry.event_id.in_(event_ids))
    fresh = set(event_ids) - set(session.scalars(query))
    if fresh:
        session.execute(
            insert(InboxEntry), [{"event_id": event_id, "received_at": now} for event_id in fresh]
        )
    return fresh


def _save(session: Session, table: type[Base], key: dict[str, Any], values: dict[str, Any]) -> None:
    columns = [getattr(table, name) == value for name, value in key.items()]
    changed = update(table).where(*columns).values(**values).execution_options(synchronize_session=False)
    if session.execute(changed).rowcount == 0:  # type: ignore[attr-defined]
        session.execute(insert(table), [{**key, **values}])

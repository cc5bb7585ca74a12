"""The one way a job's row changes: a guarded update, and the history entries that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from shared.errors import StaleJob
from shared.status import JobStatus
from web.models import Job, JobEvent
from web.states import Trigger, next_status


@dataclass(frozen=True)
class HistoryEntry:
    """What is to be added to a job's history: an event name of the stream, and its data."""

    type: str
    data: dict[str, Any]


def apply_trigger(
    session: Session,
    job: Job,
    trigger: Trigger,
    *,
    now: datetime,
    reason: str | None = None,
    values: dict[str, Any] | None = None,
    entries: Sequence[HistoryEntry] = (),
) -> None:
    """Move a job along the state table, change `values` with it, and write the history.

    Raises:
        InvalidState: when the table has no such row.
        StaleJob: when the row is no longer what `job` was read as.
    """
    status = next_status(job.job_status, trigger)
    changes = {**(values or {}), "status": status.value, "status_reason": reason}
    if status.is_final and not job.job_status.is_final:
        changes.setdefault("completed_at", now)
    if status is JobStatus.QUEUED and job.job_status is not JobStatus.QUEUED:
        changes.setdefault("queued_at", now)
    written = list(entries)
    if (job.status, job.status_reason) != (status.value, reason):
        written.append(_status_entry(status, reason, changes.get("attempt", job.attempt)))
    write_changes(session, job, changes, now=now, entries=written)


def write_changes(
    session: Session,
    job: Job,
    changes: dict[str, Any],
    *,
    now: datetime,
    entries: Sequence[HistoryEntry] = (),
) -> None:
    """Change a row that is still what `job` was read as, and write the history; `job` then shows the new row.

    Raises:
        StaleJob: when it is not.
    """
    version = job.version + len(entries)
    guarded = (
        update(Job)
        .where(
            Job.id == job.id,
            Job.status == job.status,
            Job.attempt == job.attempt,
            Job.version == job.version,
        )
        .values(**changes, version=version)
        .execution_options(synchronize_session=False)
    )
    if session.execute(guarded).rowcount != 1:  # type: ignore[attr-defined]
        raise StaleJob(f"job {job.id} is no longer {job.status} at attempt {job.attempt}")
    add_history(session, job.id, after=job.version, entries=entries, now=now)
    for name, value in {**changes, "version": version}.items():
        set_committed_value(job, name, value)


def add_history(
    session: Session, job_id: str, *, after: int, entries: Sequence[HistoryEntry], now: datetime
) -> None:
    """Append to a job's history, numbering from `after` + 1."""
    if entries:
        session.execute(
            insert(JobEvent),
            [
                {
                    "job_id": job_id,
                    "sequence": after + number,
                    "type": entry.type,
                    "data": entry.data,
                    "created_at": now,
                }
                for number, entry in enumerate(entries, start=1)
            ],
        )


def _status_entry(status: JobStatus, reason: str | None, attempt: int) -> HistoryEntry:
    return HistoryEntry("status", {"status": status.value, "status_reason": reason, "attempt": attempt})


def first_entry() -> HistoryEntry:
    """Return the entry every history begins with."""
    return _status_entry(JobStatus.QUEUED, None, 1)

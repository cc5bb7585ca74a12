"""Transitions: guarded updates of a job's row, the only way it changes, each with its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Update, bindparam, insert, select, update
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from shared.errors import NotFound, StaleJob
from shared.options import Method
from shared.status import JobStatus
from web.db.models import Base, InboxEntry, Job, JobAttempt, JobCheckpoint, JobEvent
from web.db.totals import Total, add
from web.jobs.fairness import Stand, changes_to_queue, note_move
from web.jobs.states import REUSED, Trigger, is_legal, next_status
from web.webhooks.outbox import events_of, note_events

_Row = TypeVar("_Row", bound=Base)
UNKNOWN_METHOD = "unknown"
_METHODS = frozenset(method.value for method in Method)


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


def may_have_checkpoints(job: Job) -> bool:
    """Whether there can be a checkpoint of the job's own: it has come further than where it began.

    A job that was given the result of another one has none, for all its steps, and neither has a fast one.
    """
    if job.options.get("method") == Method.FAST:
        return False
    begun_at = job.origin["step"] if job.origin and job.origin["job_id"] != job.id else 0
    return job.step > begun_at and job.status_reason != REUSED


def save_attempt(session: Session, job_id: str, number: int, **values: Any) -> None:  # noqa: ANN401 - columns
    """Add an attempt, or change its columns."""
    _save(session, JobAttempt, {"job_id": job_id, "number": number}, values)


def save_checkpoint(session: Session, job_id: str, step: int, **values: Any) -> None:  # noqa: ANN401 - columns
    """Add a checkpoint; one of the same step from a later attempt replaces it."""
    _save(session, JobCheckpoint, {"job_id": job_id, "step": step}, values)


def enter_inbox(session: Session, event_ids: Sequence[str], *, now: datetime) -> set[str]:
    """Add reports to the inbox; return those that were not in it."""
    query = select(InboxEntry.event_id).where(InboxEntry.event_id.in_(event_ids))
    fresh = set(event_ids) - set(session.scalars(query))
    if fresh:
        insert_rows(session, InboxEntry, [{"event_id": event_id, "received_at": now} for event_id in fresh])
    return fresh


def _save(session: Session, table: type[Base], key: dict[str, Any], values: dict[str, Any]) -> None:
    if _update(session, table, key, values) == 0:
        insert_rows(session, table, [{**key, **values}])


# Rows are written by these. They go round the objects of the session, and a statement is made once for
# each set of columns: to make and take apart one for every report costs more than to carry it out.


def insert_rows(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Add rows of a table; all have the same columns, and the others their defaults."""
    session.flush()
    session.connection().execute(insert(Base.metadata.tables[table.__tablename__]), rows)


def known_row(session: Session, table: type[_Row], values: Mapping[str, Any]) -> _Row:
    """Return a row that was just added as the session's object for it, without reading it.

    `values` are all that is not as by default, and what belongs to it.
    """
    row = table()
    for name, value in (_defaults(table) | dict(values)).items():
        set_committed_value(row, name, value)
    make_transient_to_detached(row)
    session.add(row)
    return row


@cache
def _defaults(table: type[Base]) -> dict[str, Any]:
    columns = Base.metadata.tables[table.__tablename__].columns
    return {column.name: getattr(column.default, "arg", None) for column in columns}


def _update(session: Session, table: type[Base], known: dict[str, Any], values: dict[str, Any]) -> int:
    """Change the rows whose columns are as known; return how many there were."""
    session.flush()
    statement = _update_statement(table.__tablename__, tuple(known), tuple(values))
    given = {f"known_{name}": value for name, value in known.items()}
    given |= {f"new_{name}": value for name, value in values.items()}
    return session.connection().execute(statement, given).rowcount


@cache
def _update_statement(table_name: str, known: tuple[str, ...], changed: tuple[str, ...]) -> Update:
    table = Base.metadata.tables[table_name]
    where = [table.c[name] == bindparam(f"known_{name}") for name in known]
    return update(table).where(*where).values({name: bindparam(f"new_{name}") for name in changed})


def status_after(job: Job, trigger: Trigger) -> JobStatus:
    """Return the status that a trigger leads a job to.

    Raises:
        InvalidState: when the table has no such row; naming what can be asked of this very job.
    """
    status = job.job_status
    if is_legal(status, trigger):
        return next_status(status, trigger)
    return next_status(status, trigger, has_checkpoints=may_have_checkpoints(job))


@dataclass(frozen=True)
class HistoryEntry:
    """A new entry of a job's history: an event name of the stream, and its data."""

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
        StaleJob: when the row has changed since `job` was read.
    """
    status, was = status_after(job, trigger), Stand.of(job)
    changes = {**(values or {}), "status": status.value, "status_reason": reason}
    if status.is_final and not job.job_status.is_final:
        changes.setdefault("completed_at", now)
    if status is JobStatus.QUEUED and job.job_status is not JobStatus.QUEUED:
        changes.setdefault("queued_at", now)
        changes |= changes_to_queue(session, job, changes)
    _count(session, job, status, trigger, changes, reason=reason)
    written = list(entries)
    if (job.status, job.status_reason) != (status.value, reason):
        written.append(_status_entry(status, reason, changes.get("attempt", job.attempt)))
    write_changes(session, job, changes, now=now, entries=written)
    note_move(session, job, was=was, now=now)


def _count(
    session: Session,
    job: Job,
    status: JobStatus,
    trigger: Trigger,
    changes: Mapping[str, Any],
    *,
    reason: str | None,
) -> None:
    """Count what a trigger does to a job that is still as it was."""
    method = method_of(job)
    if status.is_final and not job.job_status.is_final:
        add(session, Total.JOBS_ENDED, method=method, status=status.value)
    if changes.get("attempt", job.attempt) > job.attempt:
        add(session, Total.RETRIES, method=method, reason=reason or trigger.value)


def method_of(job: Job) -> str:
    """Return the method of a job, as metrics name it; `unknown` where its options cannot be read."""
    found = job.options.get("method") if isinstance(job.options, Mapping) else None
    return found if isinstance(found, str) and found in _METHODS else UNKNOWN_METHOD


def write_changes(
    session: Session,
    job: Job,
    changes: dict[str, Any],
    *,
    now: datetime,
    entries: Sequence[HistoryEntry] = (),
) -> None:
    """Change a job's row and write the history; `job` then has the new values.

    Raises:
        StaleJob: when the row has changed since `job` was read.
    """
    version, before = job.version + len(entries), job.job_status
    known = {name: getattr(job, name) for name in ("id", "status", "attempt", "version")}
    if _update(session, Job, known, {**changes, "version": version}) != 1:
        raise StaleJob(
            f"the job is no longer {job.status} in its attempt {job.attempt}; look at it and try again"
        )
    add_history(session, job.id, after=job.version, entries=entries, now=now)
    for name, value in {**changes, "version": version}.items():
        set_committed_value(job, name, value)
    note_events(session, job, events_of(before, job.job_status, [entry.type for entry in entries]), now=now)


def add_history(
    session: Session, job_id: str, *, after: int, entries: Sequence[HistoryEntry], now: datetime
) -> None:
    """Append to a job's history, numbering from `after` + 1."""
    if entries:
        insert_rows(
            session,
            JobEvent,
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


def public_output(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output as an event shows it: without its storage key."""
    return {key: value for key, value in output.items() if key != "key"}

"""Retention: when a job expires, and which rows retention and garbage collection read and remove."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Delete, delete, exists, false, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from shared.logs import get_logger
from shared.status import FINAL_STATUSES, JobKind, JobStatus
from shared.storage.layout import asset_key, asset_thumbnail_key, large_thumbnail_key
from web.backend import Backend
from web.db.models import Asset, IdempotencyKey, InboxEntry, Job, JobCheckpoint
from web.jobs.thinning import NO_STATE

_log = get_logger(__name__)
_FINAL = sorted(status.value for status in FINAL_STATUSES)


def expires_at(completed_at: datetime | None, *, retention_days: float) -> datetime | None:
    """Return the moment from which a job may be removed; None if it is not final, or is kept for ever.

    `completed_at` is when it became final; `retention_days` is 0 or more, and 0 is for ever.
    """
    if completed_at is None or not retention_days:
        return None
    try:
        return completed_at + timedelta(days=retention_days)
    except OverflowError:
        return None  # after the year 9999


@dataclass(frozen=True)
class JobRow:
    """What a job's row says about its files; `needed` are the keys that row and checkpoints refer to."""

    id: str
    status: JobStatus
    attempt: int
    completed_at: datetime | None
    outputs: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class UnusedAsset:
    """An asset that has no star and no job; `is_shared` when another caller's asset has the same bytes."""

    id: str
    sha256: str
    size_bytes: int
    created_at: datetime
    is_shared: bool


def is_empty(session: Session) -> bool:
    """Whether the database has neither a job nor an asset."""
    return not session.scalar(select(or_(exists(select(Job.id)), exists(select(Asset.id)))))


def job_rows(session: Session, job_ids: Collection[str]) -> Mapping[str, JobRow]:
    """Return the rows of those of the jobs that exist, by id."""
    needed: dict[str, set[str]] = {job_id: set() for job_id in job_ids}
    checkpoints = select(JobCheckpoint.job_id, JobCheckpoint.key, JobCheckpoint.picture_key)
    for job_id, key, picture_key in session.execute(checkpoints.where(JobCheckpoint.job_id.in_(job_ids))):
        needed[job_id] |= {key, picture_key} - {NO_STATE}
    columns = select(Job.id, Job.status, Job.attempt, Job.completed_at, Job.outputs, Job.origin)
    rows = {}
    for job_id, status, attempt, completed_at, outputs, origin in session.execute(
        columns.where(Job.id.in_(job_ids))
    ):
        try:
            output_keys = frozenset(str(output["key"]) for output in outputs)
            origin_keys = {str(origin["key"])} if origin is not None else set()
            known = JobStatus(status)
        except (TypeError, KeyError, ValueError) as error:
            # Nobody knows which files it refers to: as one that has not ended it keeps them all.
            _log.error("row_unreadable", job_id=job_id, reason=str(error))
            rows[job_id] = JobRow(id=job_id, status=JobStatus.RUNNING, attempt=1, completed_at=None)
            continue
        rows[job_id] = JobRow(
            id=job_id,
            status=known,
            attempt=attempt,
            completed_at=completed_at,
            outputs=output_keys,
            needed=frozenset(needed[job_id] | output_keys | origin_keys),
        )
    return MappingProxyType(rows)


def expired_jobs(
    session: Session, before: Mapping[JobKind, datetime | None], *, limit: int | None
) -> list[tuple[str, datetime]]:
    """Return id and end of the jobs that ended before their kind's moment, oldest first.

    A kind without a moment is kept for ever, and so is a job while a follower waits for it.
    """
    query = select(Job.id, Job.completed_at).where(_is_expired(before))
    found = session.execute(query.order_by(Job.completed_at, Job.id).limit(limit))
    return [(job_id, cast(datetime, completed_at)) for job_id, completed_at in found]


def delete_expired_job(session: Session, job_id: str, *, before: Mapping[JobKind, datetime | None]) -> bool:
    """Remove a job with its history, if `expired_jobs` still lists it; return whether it was removed."""
    return _deleted(session, delete(Job).where(Job.id == job_id, _is_expired(before))) == 1


def delete_final_job(session: Session, job_id: str, *, version: int) -> bool:
    """Remove a job with its history, if it has ended and has this version; return whether it was removed."""
    final = (Job.id == job_id) & (Job.version == version) & Job.status.in_(_FINAL)
    return _deleted(session, delete(Job).where(final)) == 1


def known_pictures(session: Session, sha256s: Collection[str]) -> set[str]:
    """Return those of the SHA-256 that an asset has."""
    return set(session.scalars(select(Asset.sha256).where(Asset.sha256.in_(sha256s))))


def unused_assets(session: Session, before: datetime, *, limit: int | None) -> list[UnusedAsset]:
    """Return the assets added before a moment that no job refers to and nobody has starred, oldest first."""
    other = aliased(Asset)
    shared = exists(select(other.id).where(other.sha256 == Asset.sha256, other.id != Asset.id))
    query = select(Asset.id, Asset.sha256, Asset.size_bytes, Asset.created_at, shared)
    query = query.where(_is_unused(before)).order_by(Asset.created_at, Asset.id).limit(limit)
    return [UnusedAsset(*row) for row in session.execute(query)]


def delete_unused_asset(session: Session, asset_id: str, *, before: datetime) -> bool:
    """Remove an asset, if `unused_assets` still lists it; return whether it was removed."""
    return _deleted(session, delete(Asset).where(Asset.id == asset_id, _is_unused(before))) == 1


def forget_picture(backend: Backend, sha256: str, *, before: datetime) -> None:
    """Remove the files of a picture that no asset has any more, and that nobody has touched since a moment.

    Raises:
        StorageUnavailable: when they cannot be removed; the collector finds them later.
    """
    with backend.database.read() as session:
        is_known = bool(known_pictures(session, [sha256]))
    if not is_known and backend.storage.delete_older(asset_key(sha256), before):
        for key in (asset_thumbnail_key(sha256), large_thumbnail_key(sha256)):
            backend.storage.delete(key)


def count_inbox(session: Session, before: datetime) -> int:
    """Return the number of reports that were applied before a moment."""
    query = select(func.count()).select_from(InboxEntry).where(InboxEntry.received_at < before)
    return session.scalar(query) or 0


def delete_inbox(session: Session, *, before: datetime, limit: int) -> int:
    """Delete the inbox entries of reports applied before a moment, oldest first; return how many."""
    old = select(InboxEntry.event_id).where(InboxEntry.received_at < before)
    old = old.order_by(InboxEntry.received_at, InboxEntry.event_id).limit(limit)
    return _deleted(session, delete(InboxEntry).where(InboxEntry.event_id.in_(old)))


def count_idempotency_keys(session: Session, before: datetime) -> int:
    """Return the number of keys that were stored before a moment."""
    query = select(func.count()).select_from(IdempotencyKey).where(IdempotencyKey.created_at < before)
    return session.scalar(query) or 0


def delete_idempotency_keys(session: Session, *, before: datetime, limit: int) -> int:
    """Delete the keys that were stored before a moment, oldest first; return how many."""
    row = tuple_(IdempotencyKey.caller, IdempotencyKey.key)
    old = select(IdempotencyKey.caller, IdempotencyKey.key).where(IdempotencyKey.created_at < before)
    old = old.order_by(IdempotencyKey.created_at, IdempotencyKey.caller, IdempotencyKey.key).limit(limit)
    return _deleted(session, delete(IdempotencyKey).where(row.in_(old)))


def _is_expired(before: Mapping[JobKind, datetime | None]) -> ColumnElement[bool]:
    follower = aliased(Job)
    waiting = select(follower.id).where(follower.leader_id == Job.id, follower.status.not_in(_FINAL))
    old = [
        (Job.kind == kind.value) & (Job.completed_at < moment)
        for kind, moment in before.items()
        if moment is not None
    ]
    return Job.status.in_(_FINAL) & or_(false(), *old) & ~exists(waiting)


def _is_unused(before: datetime) -> ColumnElement[bool]:
    jobs = select(Job.id).where(or_(Job.content_asset_id == Asset.id, Job.style_asset_id == Asset.id))
    return (Asset.created_at < before) & Asset.starred_at.is_(None) & ~exists(jobs)


def _deleted(session: Session, statement: Delete) -> int:
    quiet = statement.execution_options(synchronize_session=False)
    return cast(CursorResult[Any], session.execute(quiet)).rowcount

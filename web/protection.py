"""Protection: what the collector leaves alone although no row refers to it.

Two things make a row's absence no proof that a file is garbage. While a backup copies what its copy of the
database refers to, nothing may go (the hold). And when an older database was put back, the storage holds jobs
that it does not know: these are kept for 30 days, so that the newer database can still be put back instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.errors import FilesHeld
from shared.logs import get_logger
from shared.storage.layout import job_folder
from shared.storage.store import ArtifactStore, StoredFile
from web.db.database import Database
from web.db.models import Asset, InboxEntry, InstallationRow, Job

#: A backup renews its hold much more often; that of a killed one ends by itself.
HOLD = timedelta(minutes=5)
RESTORE_GRACE = timedelta(days=30)

_TIMED_ID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_LOOKED_AT = 1000
_log = get_logger(__name__)


@dataclass(frozen=True)
class Protection:
    """What is protected now: everything while `is_held`, and what is no older than a moment without a row."""

    is_held: bool = False
    kept_since: datetime | None = None


def decide_protection(
    *, held_until: datetime | None, restored_at: datetime | None, known_until: datetime | None, now: datetime
) -> Protection:
    """Decide what is protected; a hold that ends later than any can was made under a wrong clock."""
    is_held = held_until is not None and now < held_until <= now + 2 * HOLD
    in_grace = restored_at is not None and now < restored_at + RESTORE_GRACE
    return Protection(is_held, known_until if in_grace else None)


def read_protection(session: Session, *, now: datetime) -> Protection:
    """Return what is protected now."""
    row = session.scalar(select(InstallationRow))
    if row is None:
        return Protection()
    return decide_protection(
        held_until=row.held_until, restored_at=row.restored_at, known_until=row.known_until, now=now
    )


def check_hold(session: Session, *, now: datetime) -> None:
    """Prove, in the transaction that removes rows, that no backup holds their files; or raise `FilesHeld`."""
    if read_protection(session, now=now).is_held:
        raise FilesHeld()


def hold_files(session: Session, *, now: datetime) -> None:
    """Hold all files for the next minutes."""
    session.scalars(select(InstallationRow)).one().held_until = now + HOLD


def record_restore(session: Session, *, known_until: datetime, now: datetime) -> None:
    """Record that an older database was put back, which knows nothing after `known_until`.

    While an earlier restore still counts, the older of the two moments does.
    """
    row = session.scalars(select(InstallationRow)).one()
    earlier = decide_protection(
        held_until=None, restored_at=row.restored_at, known_until=row.known_until, now=now
    ).kept_since
    row.restored_at = max(now, known_until)  # under a clock that is behind it would be over at once
    row.known_until = min(known_until, earlier) if earlier else known_until


def moment_of(job_id: str) -> datetime | None:
    """Return when an id was made, which is written in it; None for an id of another kind."""
    match = _TIMED_ID.fullmatch(job_id)
    return datetime.fromtimestamp(int(match[1] + match[2], 16) / 1000, UTC) if match else None


def note_older_database(database: Database, store: ArtifactStore, *, now: datetime) -> datetime | None:
    """Notice a database that was put back by hand, and record it; return the moment that it knows of, if so.

    Before anything new is written: the storage then holds work on jobs that are younger than all that the
    database has written, and that it does not know.

    Raises:
        DatabaseUnavailable, StorageUnavailable: when they fail.
    """
    with database.read() as session:
        last = last_moment(session, now=now)
        if last is None or read_protection(session, now=now).kept_since:
            return None
        younger = store.folders("jobs", after=_first_id(last), limit=_LOOKED_AT)
        known = set(session.scalars(select(Job.id).where(Job.id.in_(younger))))
    unknown = [name for name in younger if name not in known]
    if not any(_was_worked_on(store, name, since=last) for name in unknown):
        return None
    _log.warning(
        "database_is_older",
        detail="the storage holds jobs that are younger than the database: was an old backup put back?",
        jobs=len(unknown), last_moment=last.isoformat(), kept_days=RESTORE_GRACE.days,
    )  # fmt: skip
    with database.write() as session:
        record_restore(session, known_until=last, now=now)
    return last


def last_moment(session: Session, *, now: datetime) -> datetime | None:
    """Return the last moment at which something was written that is still there; not one in the future."""
    bound = _first_id(now)
    ids = [session.scalar(select(func.max(table.id)).where(table.id < bound)) for table in (Job, Asset)]
    moments = [moment for name in ids if name and (moment := moment_of(name))]
    reported = session.scalar(select(func.max(InboxEntry.received_at)).where(InboxEntry.received_at <= now))
    return max([*moments, *([reported] if reported else [])], default=None)


def _first_id(moment: datetime) -> str:
    digits = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _was_worked_on(store: ArtifactStore, job_id: str, *, since: datetime) -> bool:
    """Whether a worker wrote to a job's folder; a fork that was killed leaves no more than its first file."""
    moment = moment_of(job_id)
    files: Sequence[StoredFile] = store.inventory(job_folder(job_id)) if moment and moment > since else ()
    return any("/attempt-" in file.key and file.modified_at > since for file in files)

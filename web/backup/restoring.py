"""Putting a backup back: its files, then its database in one transaction.

What is in the way is kept: the database that was there beside the new one, and attempts of jobs that the
backup does not know of under other names. Files of younger jobs stay, and the collector leaves them alone for
a month (`web/protection.py`).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select

from shared.errors import (
    ArtifactMissing,
    BackupRefused,
    IdentityWrong,
    RedisUnavailable,
    StorageUnavailable,
)
from shared.installation import IDENTITY_KEY, Installation, has_content, read_identity, write_identity
from shared.logs import get_logger
from shared.redis import Coordination
from shared.redis.names import Names
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.layout import attempt_folder, job_folder, replaced_attempt_folder
from shared.storage.local import LocalStore, make_folders
from shared.storage.store import ArtifactStore
from shared.storage.verify import holds_file
from web.backup.making import require_room, sqlite_path
from web.backup.manifest import BackedUpFile, BackupFolder, Manifest, digest_of
from web.db.database import Database
from web.db.models import InstallationRow, Job
from web.jobs.restored import read_fences, return_jobs
from web.protection import last_moment, record_restore

#: Where SQLite locks its files: whoever has one open in WAL mode holds a lock on these bytes.
_SHARED_FIRST, _SHARED_BYTES = 0x40000002, 510
_ATTEMPT = re.compile(r"attempt-(\d+)")
_MOST_ATTEMPTS = 10_000
_REPLY_SECONDS = 3.0
_Answer = TypeVar("_Answer")
_log = get_logger(__name__)


@dataclass(frozen=True)
class Target:
    """What is there already: the ids of database and storage, and whether they hold anything.

    `shares_jobs` is whether the storage holds files of jobs that are in the backup: no two installations have
    a job in common.
    """

    has_database: bool
    is_readable: bool
    database_id: str | None
    has_rows: bool
    storage_id: str | None
    has_files: bool
    shares_jobs: bool


def decide_target(target: Target, installation_id: str) -> None:
    """Decide whether a backup may be put there: where its own installation was, or nothing is.

    Raises:
        BackupRefused: naming what is in the way.
    """
    hint = "set ATELIER_DATA_DIR to an empty folder, or to that of this installation"
    if target.storage_id not in (None, installation_id):
        raise BackupRefused(
            f"the backup is of the installation {installation_id}, the storage of {target.storage_id}: {hint}"
        )
    if target.storage_id is None and target.has_files and not target.shares_jobs:
        raise BackupRefused(f"the storage holds files, and does not say of which installation: {hint}")
    if target.database_id not in (None, installation_id):
        raise BackupRefused(
            f"the backup is of the installation {installation_id}, "
            f"the database of {target.database_id}: {hint}"
        )
    if target.database_id is None and target.has_rows:
        raise BackupRefused(f"the database holds jobs, and does not say of which installation: {hint}")
    if target.storage_id is None and not target.has_files and target.has_database:
        # What is written below a mount point is not there any more once the storage is mounted.
        if target.has_rows:
            raise BackupRefused(
                "the database of this installation is there, and its storage is empty or not there: mount "
                "it; if its files are lost, put the database file into another folder, and restore again"
            )
        if not target.is_readable:
            raise BackupRefused(f"there is a database that cannot be read, beside an empty storage: {hint}")


@dataclass(frozen=True)
class Restored:
    """What was put back, and what was kept aside; `knows_redis` unless Redis did not answer."""

    manifest: Manifest
    written_files: int
    written_bytes: int
    put_aside: int
    unfinished: int
    knows_redis: bool
    previous_database: Path | None


def restore_backup(settings: Settings, path: Path, *, now: datetime) -> Restored:
    """Put a backup back where the settings say, with the service stopped; a killed one is simply repeated.

    Raises:
        BackupRefused: when it is not finished, its target is in use or another's, or room is missing.
        BackupDamaged: when the backup is not whole; nothing was changed then.
        DatabaseUnavailable, StorageUnavailable: when they fail.
    """
    place = sqlite_path(settings.resolved_database_url)
    folder = BackupFolder(path)
    manifest = folder.require_whole()
    try:
        return _restore(settings, place, folder, manifest, now=now)
    except OSError as error:
        where = error.filename or place
        raise StorageUnavailable(f"the restore stopped at {where}: {error.strerror or error}") from error


def _restore(
    settings: Settings, place: Path, folder: BackupFolder, manifest: Manifest, *, now: datetime
) -> Restored:
    _require_known_tables(manifest)
    store = store_of(settings)
    target = _look_at(place, store, manifest)
    decide_target(target, manifest.installation_id)
    make_folders(place.parent)
    with _unused(place):
        pass
    store.make_root()
    if target.storage_id is None:
        store.delete(IDENTITY_KEY)  # it may be there, and damaged
        write_identity(store, Installation(id=manifest.installation_id))
    to_write = [file for file in manifest.files if not _is_there(store, file)]
    size = sum(file.size_bytes for file in to_write)
    if isinstance(store, LocalStore):
        require_room(store.root, size, what="the restore")
    kept = place.stat().st_size if place.exists() else 0
    require_room(place.parent, 3 * manifest.database.size_bytes + kept, what="the restored database")
    for file in to_write:
        with folder.place(file).open("rb") as data:
            store.write(file.key, data)
    prepared = place.with_name(f"{place.name}.restoring")
    shutil.copyfile(folder.place(manifest.database), prepared)
    changes = _prepare(prepared, manifest, settings, store, now=now)
    previous = _exchange(prepared, place, now=now)
    put_aside = _put_aside(store, changes.later, now=now)
    _log.info("restored", made_at=manifest.made_at, files=len(to_write), put_aside=put_aside)
    return Restored(
        manifest, len(to_write), size, put_aside, changes.unfinished, changes.knows_redis, previous
    )


def _require_known_tables(manifest: Manifest) -> None:
    if not Database.knows_revision(manifest.schema_revision):
        raise BackupRefused(
            f"the backup was made by release {manifest.release}, whose tables ({manifest.schema_revision}) "
            "this release does not know: restore it with that release or a later one"
        )


def _look_at(place: Path, store: ArtifactStore, manifest: Manifest) -> Target:
    try:
        found = read_identity(store)
    except IdentityWrong as error:
        _log.warning("identity_unreadable", detail=error.detail)
        found = None
    database_id, has_rows, is_readable = _look_at_database(place)
    return Target(
        has_database=place.exists(),
        is_readable=is_readable,
        database_id=database_id,
        has_rows=has_rows,
        storage_id=found.id if found else None,
        has_files=has_content(store),
        shares_jobs=any(
            holds_file(store, file.key) for file in manifest.files if file.key.startswith("jobs/")
        ),
    )


def _look_at_database(place: Path) -> tuple[str | None, bool, bool]:
    """Return the id in a database of any version, whether it has jobs or pictures, and whether it is one."""
    if not place.exists():
        return None, False, True
    try:
        with closing(sqlite3.connect(place, timeout=2)) as connection:
            tables = {
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            rows: list[Any] = []
            if "installation" in tables:
                rows = connection.execute("SELECT id FROM installation").fetchall()
            known = [name for name in ("jobs", "assets") if name in tables]
            has_rows = any(connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in known)  # noqa: S608 - two names of ours
    except sqlite3.DatabaseError as error:
        if _is_busy(error):
            raise BackupRefused(_in_use(place)) from error
        return None, False, False
    return (rows[0][0] if rows else None), has_rows, True


def _in_use(place: Path) -> str:
    return f"the database {place} is in use by a running process: stop web and control, and try again"


@contextmanager
def _unused(place: Path) -> Iterator[None]:
    """Prove that nobody has the database open, and that nobody opens it inside.

    A damaged file can be locked, too. Web and control keep a connection open as long as they run. Inside,
    this process must not open it either: to close it would end the lock.
    """
    if not place.exists():
        yield
        return
    handle = os.open(place, os.O_RDWR)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_BYTES, _SHARED_FIRST)
        except OSError:
            raise BackupRefused(_in_use(place)) from None
        yield
    finally:
        os.close(handle)


def _is_there(store: ArtifactStore, file: BackedUpFile) -> bool:
    """Whether the storage has a file of the backup with these bytes; one that cannot be read is put back."""
    try:
        if store.stat(file.key).size_bytes != file.size_bytes:
            return False
        with store.open(file.key) as data:
            return digest_of(data).sha256 == file.sha256
    except (ArtifactMissing, StorageUnavailable, OSError):
        return False


@dataclass(frozen=True)
class _Changes:
    """Attempts that have folders, and that the backup does not know; how many of its jobs had not ended."""

    later: Mapping[str, list[int]]
    unfinished: int
    knows_redis: bool


def _prepare(
    prepared: Path, manifest: Manifest, settings: Settings, store: ArtifactStore, *, now: datetime
) -> _Changes:
    """Bring a copy of the backup's database to this release, and let its jobs go on rightly."""
    for name in _logs_of(prepared):
        name.unlink(missing_ok=True)
    database = Database(f"sqlite:///{prepared}")
    try:
        database.upgrade()
        with database.read() as session:
            found = session.execute(select(Job.id, Job.attempt))
            attempts = {row.id: row.attempt for row in found if isinstance(row.attempt, int)}
        fences = _ask_redis(settings, manifest, lambda redis: read_fences(redis, list(attempts)))
        begun = {job_id: _begun(store, job_id) for job_id in attempts}
        highest = {job_id: max(numbers) for job_id, numbers in begun.items() if numbers}
        with database.write() as session:
            row = session.get_one(InstallationRow, manifest.installation_id)
            row.is_confirmed, row.held_until = True, None
            # The clock may have been ahead when the backup was made, or be behind now.
            made_at = manifest.made_at
            last = last_moment(session, now=now) or last_moment(session, now=made_at) or made_at
            record_restore(session, known_until=min(made_at, last), now=now)
            unfinished = return_jobs(session, fences or {}, highest, now=now)
    finally:
        database.close()
    with closing(sqlite3.connect(prepared)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # one file again
    later = {job_id: [one for one in begun[job_id] if one > attempt] for job_id, attempt in attempts.items()}
    return _Changes(later, unfinished, knows_redis=fences is not None)


def _ask_redis(
    settings: Settings, manifest: Manifest, question: Callable[[Coordination], _Answer]
) -> _Answer | None:
    """Ask the installation's Redis something; None when it is away, and control will ask once it is there."""
    redis = Coordination.connect(settings, Names(manifest.installation_id), reply_seconds=_REPLY_SECONDS)
    try:
        return question(redis)
    except RedisUnavailable as error:
        _log.info("redis_away", detail=error.detail)  # the command says so, and why that is no harm
        return None
    finally:
        redis.close()


def _logs_of(database: Path) -> list[Path]:
    return [database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal")]


def _exchange(prepared: Path, place: Path, *, now: datetime) -> Path | None:
    """Put the prepared database into its place; return where the one before is now.

    Into the same file, in one transaction of SQLite: a process that starts in this moment waits, and has the
    new one then. In place of another file it would go on with the old one, and the log of the new.
    """
    if not place.exists():
        _replace(prepared, place)
        return None
    previous = place.with_name(f"{place.name}.before-restore-{int(now.timestamp())}")
    try:
        with (
            closing(sqlite3.connect(place, timeout=2)) as target,
            closing(sqlite3.connect(prepared)) as source,
        ):
            target.execute("PRAGMA journal_mode=DELETE")  # with its log, one file
            _keep(place, previous)
            source.backup(target)
    except sqlite3.DatabaseError as error:
        if _is_busy(error):
            raise BackupRefused(_in_use(place)) from error
        with _unused(place):
            _swap(prepared, place, previous)
    prepared.unlink(missing_ok=True)
    return previous


def _keep(place: Path, previous: Path) -> None:
    """Copy a database to where it is kept; the name comes last, so that none has a part of it only."""
    copy = place.with_name(f"{place.name}.keeping")
    shutil.copyfile(place, copy)
    _replace(copy, previous)


def _swap(prepared: Path, place: Path, previous: Path) -> None:
    """Put the prepared database in place of a damaged one, which nobody can use.

    A write-ahead log that stayed would be applied to the new one: it goes with the old.
    """
    previous.unlink(missing_ok=True)
    os.link(place, previous)
    for log, kept in zip(_logs_of(place), _logs_of(previous), strict=True):
        with suppress(FileNotFoundError):
            log.replace(kept)
    _replace(prepared, place)


def _replace(prepared: Path, place: Path) -> None:
    handle = os.open(prepared, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    prepared.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_busy(error: sqlite3.DatabaseError) -> bool:
    return isinstance(error, sqlite3.OperationalError) and any(
        word in str(error) for word in ("locked", "busy")
    )


def _begun(store: ArtifactStore, job_id: str) -> list[int]:
    """Return the attempts of a job that have a folder."""
    names = store.folders(job_folder(job_id), limit=_MOST_ATTEMPTS)
    return [int(match[1]) for name in names if (match := _ATTEMPT.fullmatch(name))]


def _put_aside(store: ArtifactStore, attempts: Mapping[str, list[int]], *, now: datetime) -> int:
    """Give the folders of attempts other names; return how many there were.

    A later attempt of the same number, with other options perhaps, must find nothing in its folder.
    """
    return sum(
        store.move_tree(attempt_folder(job_id, number), replaced_attempt_folder(job_id, number, now=now))
        for job_id, numbers in attempts.items()
        for number in numbers
    )

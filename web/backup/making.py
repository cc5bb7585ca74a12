"""Making a backup beside the running service.

First a hold keeps the collector off (`web/protection.py`), then the database is copied by SQLite's own
backup, and then everything that the copy refers to. Rows are written after the files that they name, so these
are there.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import BinaryIO

from sqlalchemy import select

from shared.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    BackupRefused,
    DatabaseUnavailable,
    StorageUnavailable,
)
from shared.installation import IDENTITY_KEY
from shared.logs import get_logger
from shared.protocol import read_marker
from shared.release import this_release
from shared.storage.layout import asset_key, job_folder
from shared.storage.local import LocalStore
from shared.storage.store import ArtifactStore
from web.backend import Backend
from web.backup.manifest import BackedUpFile, BackupFolder, Manifest
from web.db.database import Database, parse_url
from web.db.fitness import first_damage, open_file
from web.db.models import Asset, Job, JobCheckpoint
from web.jobs.thinning import NO_STATE
from web.protection import hold_files

_COPY = ".partial-database"
_HOLD_RENEWED_SECONDS = 30.0
#: What is made anew at need, or was put aside: not worth a copy.
_LEFT_OUT = re.compile(r".*/thumbnail-[^/]+\.jpg|.*\.thumbnail\.jpg|jobs/[^/]+/replaced-.*")
_MARKER = re.compile(r"jobs/[^/]+/attempt-\d+/result\.json")
_ROOM_LEFT_BYTES = 16 << 20
_log = get_logger(__name__)


@dataclass(frozen=True)
class Made:
    """A backup that was made: its manifest, and how much of it had to be copied."""

    manifest: Manifest
    copied_files: int
    copied_bytes: int


@dataclass
class Wanted:
    """Files that a database refers to: key and SHA-256, where the row has one; and the ids of its jobs."""

    files: dict[str, str | None] = field(default_factory=dict)
    job_ids: list[str] = field(default_factory=list)


def sqlite_path(url: str) -> Path:
    """Return the file of a database.

    Raises:
        BackupRefused: when it is none of SQLite.
        InvalidSettings: when the URL is none.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise BackupRefused(
            f"the database is {parsed.get_backend_name()}, and only files of SQLite are backed up here: use "
            "its own tools (pg_dump and pg_restore), and copy the storage after the dump"
        )
    return Path(parsed.database).absolute()


def make_backup(backend: Backend, path: Path, *, clock: Callable[[], datetime]) -> Made:
    """Make a backup in a folder; what an earlier backup there has already is not copied again.

    Raises:
        BackupRefused: when the folder, its room or the kind of database does not allow it.
        BackupDamaged: when the folder holds an earlier backup whose manifest cannot be read.
        IdentityMissing, IdentityWrong, DatabaseUnavailable, StorageUnavailable: when these fail; an earlier
            backup in the folder is then whole.
    """
    database = sqlite_path(backend.settings.resolved_database_url)
    folder = BackupFolder(path)
    _require_apart(folder.path, backend)
    earlier = folder.prepare()
    if earlier is not None and earlier.installation_id != backend.identity.installation.id:
        raise BackupRefused(
            f"{folder.path} holds a backup of another installation, {earlier.installation_id}"
        )
    try:
        return _Maker(backend, folder, earlier, clock).make(database)
    except OSError as error:
        raise BackupRefused(f"{folder.path} cannot be written: {error.strerror or error}") from error


class _Maker:
    def __init__(
        self,
        backend: Backend,
        folder: BackupFolder,
        earlier: Manifest | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._store: ArtifactStore = backend.storage
        self._folder = folder
        self._earlier: Mapping[str, BackedUpFile] = (
            {file.key: file for file in earlier.files} if earlier else {}
        )
        self._clock = clock
        self._unreadable: set[str] = set()
        self._disks: set[int] = set()
        self._copied_files = self._copied_bytes = 0

    def make(self, database: Path) -> Made:
        places = [database.parent, *([self._store.root] if isinstance(self._store, LocalStore) else [])]
        self._disks = {place.stat().st_dev for place in places}
        with self._holding():
            return self._make(database)

    def _make(self, database: Path) -> Made:
        made_at = self._clock()
        copy = self._folder.path / _COPY
        try:
            self._require_room(_size_of(database))
            revision = copy_database(database, copy)
            wanted = read_wanted(copy)
            keys = self._keys(wanted)
            self._require_room(self._size_to_copy(keys))
            with copy.open("rb") as file:
                content = self._folder.put(file).content
        finally:
            for name in (copy, *(copy.with_name(copy.name + end) for end in ("-wal", "-shm", "-journal"))):
                name.unlink(missing_ok=True)
        files, missing = {}, []
        for key in keys:
            try:
                files[key] = self._copy(key)
            except ArtifactMissing:
                if key in wanted.files:
                    missing.append(key)
            except StorageUnavailable as error:
                self._note_unreadable(key, error)
        files |= self._outputs_of_late_markers(files)
        damaged = {key for key, file in files.items() if wanted.files.get(key) not in (None, file.sha256)}
        # The storage that was copied is still ours.
        self._backend.check_storage()
        release = this_release()
        manifest = Manifest(
            installation_id=self._backend.identity.installation.id,
            made_at=made_at,
            release=release.version,
            build=release.build,
            schema_revision=revision,
            database=content,
            files=tuple(files[key] for key in sorted(files)),
            missing=tuple(sorted(missing)),
            damaged=tuple(sorted(damaged | self._unreadable)),
        )
        self._folder.write(manifest)
        return Made(manifest, self._copied_files, self._copied_bytes)

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """Hold the files, and renew that beside the work: a step of it may take longer than a hold lasts."""
        self._hold()
        is_done = Event()

        def renew() -> None:
            while not is_done.wait(_HOLD_RENEWED_SECONDS):
                try:
                    self._hold()
                except DatabaseUnavailable as error:  # it lasts for several of these
                    _log.warning("hold_not_renewed", detail=error.detail)

        thread = Thread(target=renew, name="hold", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_done.set()
            thread.join()

    def _hold(self) -> None:
        with self._backend.database.write() as session:
            hold_files(session, now=self._clock())

    def _keys(self, wanted: Wanted) -> list[str]:
        """Return what rows name, and what else lies in the folders of their jobs: work that is under way."""
        keys = {IDENTITY_KEY, *wanted.files}
        for job_id in wanted.job_ids:
            try:
                found = self._store.inventory(job_folder(job_id))
            except StorageUnavailable as error:
                self._note_unreadable(job_folder(job_id), error)
                continue
            for file in found:
                if not (file.is_partial or file.is_aside or _LEFT_OUT.fullmatch(file.key)):
                    keys.add(file.key)
        return sorted(keys)

    def _size_to_copy(self, keys: list[str]) -> int:
        sizes = 0
        for key in keys:
            with suppress(ArtifactMissing, StorageUnavailable):
                sizes += 0 if self._known(key) else self._store.stat(key).size_bytes
        return sizes

    def _require_room(self, needed_bytes: int) -> None:
        """Prove that there is room; on a disk of the service so much stays that it goes on taking jobs."""
        left = _ROOM_LEFT_BYTES
        if self._folder.path.stat().st_dev in self._disks:
            left = max(left, self._backend.settings.min_free_bytes)
        require_room(self._folder.path, needed_bytes, what="the backup", left_bytes=left)

    def _known(self, key: str) -> BackedUpFile | None:
        """Return the file as an earlier backup has it, if it has not changed since."""
        known = self._earlier.get(key)
        if known is None:
            return None
        file = self._store.stat(key)
        is_same = (file.size_bytes, file.modified_at) == (known.size_bytes, known.modified_at)
        return known if is_same and self._folder.has(known) else None

    def _copy(self, key: str) -> BackedUpFile:
        known = self._known(key)
        if known is not None:
            return known
        modified_at = self._store.stat(key).modified_at
        with self._store.open(key) as source:
            copied = self._folder.put(_Source(source, key))
        if copied.is_new:
            self._copied_files += 1
            self._copied_bytes += copied.content.size_bytes
        return BackedUpFile(key=key, modified_at=modified_at, **copied.content.model_dump())

    def _note_unreadable(self, key: str, error: StorageUnavailable) -> None:
        """Go on after a failure at one place, unless it is all of the storage that fails."""
        self._backend.check_storage()
        _log.warning("file_unreadable", key=key, reason=error.detail)
        self._unreadable.add(key)

    def _outputs_of_late_markers(self, files: Mapping[str, BackedUpFile]) -> dict[str, BackedUpFile]:
        """Copy the outputs of markers that were written while their folders were being listed."""
        late = {}
        for key in filter(_MARKER.fullmatch, files):
            try:
                marker = read_marker(self._folder.place(files[key]).read_bytes())
            except ArtifactCorrupt as error:
                _log.warning("marker_unreadable", key=key, reason=error.detail)
                continue
            for output in marker.outputs:
                if output.key not in files:
                    with suppress(ArtifactMissing, StorageUnavailable):
                        late[output.key] = self._copy(output.key)
        return late


class _Source:
    """A reader of a file of the storage; its failures are not those of the backup's folder."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file, self._key = file, key

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise StorageUnavailable(f"storage failed at {self._key}: {error.strerror or error}") from error


def copy_database(source: Path, target: Path) -> str:
    """Copy a database as it is in one moment, others writing to it or not; return its schema's revision.

    The copy is one file, and is checked.

    Raises:
        DatabaseUnavailable: when it cannot be read, or is damaged.
    """
    target.unlink(missing_ok=True)
    try:
        with (
            closing(open_file(source, lock_seconds=10)) as reader,
            closing(sqlite3.connect(target)) as writer,
        ):
            reader.backup(writer)
            writer.execute("PRAGMA journal_mode=DELETE")
            damage = first_damage(str(line) for (line,) in writer.execute("PRAGMA quick_check"))
            if damage is not None:
                raise DatabaseUnavailable(f"the database {source} is damaged: {damage}")
            (revision,) = writer.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(revision)
    except sqlite3.Error as error:
        raise DatabaseUnavailable(f"the database {source} cannot be copied: {error}") from error


def read_wanted(database: Path) -> Wanted:
    """Return the files that the rows of a database copy name, and its jobs."""
    copy = Database(f"sqlite:///{database}")
    wanted = Wanted()
    try:
        with copy.read() as session:
            wanted.files |= {asset_key(sha256): sha256 for sha256 in session.scalars(select(Asset.sha256))}
            points = select(JobCheckpoint.key, JobCheckpoint.sha256, JobCheckpoint.picture_key)
            for key, sha256, picture_key in session.execute(points):
                wanted.files[picture_key] = None
                if key != NO_STATE:
                    wanted.files[key] = sha256
            for job_id, origin, outputs in session.execute(select(Job.id, Job.origin, Job.outputs)):
                wanted.job_ids.append(job_id)
                try:
                    wanted.files |= {output["key"]: output["sha256"] for output in outputs}
                    if origin:
                        wanted.files[origin["key"]] = origin["sha256"]
                except (TypeError, KeyError) as error:  # no list of outputs, or no output in it
                    _log.warning("row_unreadable", job_id=job_id, reason=repr(error))
    finally:
        copy.close()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # one file again
    return wanted


def _require_apart(path: Path, backend: Backend) -> None:
    store = backend.storage
    if isinstance(store, LocalStore) and path.resolve().is_relative_to(store.root.resolve()):
        raise BackupRefused(
            f"{path} lies in the storage itself; choose a folder elsewhere, best on another disk"
        )


def _size_of(database: Path) -> int:
    """Return the size of a database with what is not yet written into its file."""
    return sum(path.stat().st_size for path in _with_log(database) if path.exists())


def _with_log(database: Path) -> Iterator[Path]:
    yield database
    yield database.with_name(database.name + "-wal")


def require_room(path: Path, needed_bytes: int, *, what: str, left_bytes: int = _ROOM_LEFT_BYTES) -> None:
    """Prove that a disk has room, and that `left_bytes` are left then.

    Raises:
        BackupRefused: saying what is needed, and what is free.
    """
    free = shutil.disk_usage(path).free
    if free < needed_bytes + left_bytes:
        raise BackupRefused(
            f"{what} needs {needed_bytes / 1e6:.1f} MB in {path}, where {left_bytes / 1e6:.1f} MB have to be "
            f"left; {free / 1e6:.1f} MB are free"
        )

"""The database: its connection, its two kinds of session, and its migrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy import exc as sql_errors
from sqlalchemy.orm import Session, sessionmaker

from shared.errors import DatabaseUnavailable, DatabaseUnusable, InvalidSettings
from shared.logs import get_logger
from shared.storage.local import make_folders
from shared.storage.store import Room, measure_room
from web.db.derived import derive_anew, find_fault
from web.db.fitness import examine, find_damage, is_file_there, open_file
from web.db.marks import Mark, MarkReader
from web.db.totals import write_totals

_log = get_logger(__name__)
_BUSY_SECONDS = 10
#: Where a session keeps what it is to write last.
_LAST = "before commit"
_RETRY_SECONDS = 0.01
_PRAGMAS = (
    # FULL: a 202 promises that the row survives a power cut; NORMAL would sync at checkpoints only.
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={_BUSY_SECONDS * 1000}",
    "journal_size_limit=67108864",
    # Our triggers call our own lower(); some builds of SQLite would not let them.
    "trusted_schema=ON",
)
#: How long a start may read to find damage, and how long a check of the running service.
_START_BUDGET_SECONDS, _CHECK_BUDGET_SECONDS = 10.0, 0.5
#: A changed file is read through again, for at most this share of the time; another one after so long.
_READING_SHARE, _REREAD_SECONDS = 0.05, 60.0
_CHECK_LOCK_MS = 1000
#: SQLAlchemy's own words would tell the password.
_NO_URL = (
    "ATELIER_DATABASE_URL is not the URL of a database that can be used here; that of a file is "
    "sqlite:////path/of/the/file.db"
)
#: Of Python's sqlite3, as SQLAlchemy passes them on; it drops all others, with a warning.
_SQLITE_PARAMETERS = frozenset(
    {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout", "uri"}
)
#: Equal to no file that was opened.
_NO_FILE = (0, 0)
#: Alembic's word for the newest revision.
HEAD = "head"
#: More than a cache of a few pages holds, so that SQLite has to write it into its log before the commit.
_PROBE_BYTES, _PROBE_CACHE_PAGES = 65_536, 4


def parse_url(url: str) -> URL:
    """Return the URL of a database, taken apart; raise `InvalidSettings` when it is none."""
    try:
        return make_url(url)
    except sql_errors.ArgumentError as error:
        raise InvalidSettings(_NO_URL) from error


def _require_sqlite_file(url: URL) -> None:
    """Refuse what SQLite, or SQLAlchemy, would take for something else than is meant."""
    name = url.database
    if not name or name == ":memory:" or url.query.get("mode") == "memory":
        raise InvalidSettings(
            "ATELIER_DATABASE_URL names a database in memory, which ends with the process and which web and "
            "control would not share; that of a file is sqlite:////path/of/the/file.db"
        )
    if name.startswith("~"):
        raise InvalidSettings(
            "ATELIER_DATABASE_URL names a file below '~', which is no folder there; write its whole path: "
            "sqlite:////path/of/the/file.db"
        )
    unknown = sorted(url.query.keys() - _SQLITE_PARAMETERS)
    if unknown and "uri" not in url.query:
        raise InvalidSettings(
            f"ATELIER_DATABASE_URL has a parameter that is none: '{unknown[0]}'; known are "
            f"{', '.join(sorted(_SQLITE_PARAMETERS))}"
        )


class Database:
    """One database. Sessions are short; none stays open while a request is sent or an answer awaited."""

    def __init__(self, url: str) -> None:
        """Prepare a database; nothing is connected before it is used.

        Raises:
            InvalidSettings: when the URL is none, or of a database that is not installed.
            DatabaseUnusable: when its folder cannot be made.
        """
        parsed = parse_url(url)
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        if self._is_sqlite:
            _require_sqlite_file(parsed)
        arguments = {"timeout": _BUSY_SECONDS} if self._is_sqlite else {}
        name = parsed.database if self._is_sqlite else None
        has_file = name and name != ":memory:" and not name.startswith("file:")
        self._path = Path(name) if name and has_file else None
        try:
            self._engine = create_engine(parsed, connect_args=arguments)
        except (sql_errors.ArgumentError, ImportError) as error:
            raise InvalidSettings(_NO_URL) from error
        if self._path is not None:
            try:
                make_folders(self._path.absolute().parent)
            except OSError as error:
                raise DatabaseUnusable(
                    f"the folder {self._path.parent} for the database cannot be made: {error.strerror}"
                ) from error
        self._file_id: tuple[int, int] | None = None
        self._log_ids: dict[Path, tuple[int, int]] = {}
        self._marks = None if self._path is None else MarkReader(self._path)
        self._last_reading: Reading | None = None
        self._checking, self._writers = Lock(), Lock()
        if self._is_sqlite:
            event.listen(self._engine, "connect", self._note_file)
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._reading = sessionmaker(self._engine, expire_on_commit=False)
        self._writing = sessionmaker(
            self._engine.execution_options(sqlite_begin="IMMEDIATE"), expire_on_commit=False
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that only reads; it sees one snapshot.

        Raises:
            DatabaseUnavailable: when the database does not answer.
        """
        self._require_same_file()
        with _database_errors(), self._reading() as session:
            yield session
        self._note_log()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that writes; it commits at the end, or rolls back on an error.

        SQLite's writers wait for each other at BEGIN IMMEDIATE; after a deferred BEGIN, a read that turns
        into a write would fail. Those of this process take turns before that.

        Raises:
            DatabaseUnavailable: when the database does not answer, stays locked for 10 s, or its file or its
                log was removed or replaced: what is written then would be lost.
        """
        self._require_same_file()
        with self._turn_to_write(), _database_errors(), self._writing.begin() as session:
            yield session
            for act in session.info.pop(_LAST, ()):
                act(session)
            write_totals(session)
        self._note_log()

    @contextmanager
    def _turn_to_write(self) -> Iterator[None]:
        """Hold the turn of this process's writers: who waits for SQLite sleeps on after the lock is free."""
        if not self._is_sqlite:
            yield
            return
        if not self._writers.acquire(timeout=_BUSY_SECONDS):
            raise DatabaseUnavailable(f"the database is written by others for more than {_BUSY_SECONDS} s")
        try:
            yield
        finally:
            self._writers.release()

    def mark(self) -> Mark | None:
        """Return a mark of all that is stored: while it is the same, nobody has committed anything.

        What was read since a mark was taken is what is stored, as long as that is the mark. It takes some
        microseconds. None means that it cannot be told: of any database but SQLite's, before anything was
        read, and for a moment at any time.

        Raises:
            DatabaseUnavailable: when the file or its log was removed or replaced.
        """
        if self._marks is None or self._file_id is None:
            return None
        mark = self._marks.read()
        self._require_same_file()  # afterwards: it was the file that is read, too
        return mark

    def examine(self) -> str | None:
        """Return the revision of the tables; None where there is nothing yet, but a database can be made.

        Raises:
            DatabaseUnusable: when it is damaged, none of this service, or of a later release.
            DatabaseUnavailable: when it is locked, or fails in another way that may pass.
        """
        if self._path is None:
            return HEAD
        revisions = {revision.revision for revision in _scripts().walk_revisions()}
        return examine(self._path, known=revisions, budget_seconds=_START_BUDGET_SECONDS)

    def require_current(self) -> None:
        """Prove that there are tables, of this release, for a command that makes none.

        Raises:
            DatabaseUnusable, DatabaseUnavailable: as `examine`, or when they are older or not there.
        """
        found = self.examine()
        if found not in (HEAD, _scripts().get_current_head()):
            what = (
                f"is as an earlier release left it (revision '{found}'): start the service of this release "
                "once; a backup from before that is made with the earlier release, as docs/operations.md says"
                if found
                else "has no tables yet: start the service of this release once"
            )
            raise DatabaseUnusable(f"the database {self._path} {what}")

    def upgrade(self) -> None:
        """Bring the tables to this version; two processes may call it at once.

        Tables that have it already are only read: on a disk that takes no write a service can start, and
        serve what there is; search may then miss what `web/db/derived.py` would have mended.

        Raises:
            DatabaseUnusable, DatabaseUnavailable: as `examine`, or when the tables cannot be written.
        """
        is_current = self.examine() == _scripts().get_current_head()
        if not is_current:
            config = _migrations()
            with self._begin_writing() as connection:
                config.attributes["connection"] = connection
                try:
                    command.upgrade(config, HEAD)
                except CommandError as error:
                    raise DatabaseUnusable(f"the database was written by another release: {error}") from error
        if self._is_sqlite:
            self._derive(is_surprise=is_current)

    def _derive(self, *, is_surprise: bool) -> None:
        """See that lists and search have what they are quick by; `jobs` itself says what that is."""
        with _database_errors(), self._engine.connect() as connection:
            fault = find_fault(connection)
        if fault is None:
            return
        if is_surprise:  # not after a migration
            _log.warning("lists_derived_anew", fault=fault)
        try:
            with self._begin_writing() as connection:
                if find_fault(connection) is not None:  # another process may have been first
                    derive_anew(connection)
        except DatabaseUnavailable as error:
            _log.error("lists_not_derived", fault=fault, reason=error.detail)

    @contextmanager
    def _begin_writing(self) -> Iterator[Connection]:
        engine = self._engine.execution_options(sqlite_begin="IMMEDIATE")
        with _database_errors(), engine.begin() as connection:
            yield connection

    @staticmethod
    def knows_revision(revision: str) -> bool:
        """Whether a version of the tables is this release's or an older one."""
        return any(known.revision == revision for known in _scripts().walk_revisions())

    def check(self) -> None:
        """Prove that a write can begin and that there is room for it, in about a second; nothing is kept.

        Raises:
            DatabaseUnavailable: when it cannot, or the file was removed or replaced.
            DatabaseUnusable: when the file is damaged.
        """
        self._require_same_file()
        self._require_whole()
        engine = self._engine.execution_options(sqlite_begin="IMMEDIATE")
        with _database_errors(), engine.connect() as connection:
            if self._is_sqlite:
                with _patience(connection):
                    _try_to_write(connection)
            else:
                connection.execute(text("SELECT 1"))

    def room(self) -> Room | None:
        """Return the room of the file system that the database lies on; None of a database elsewhere.

        Raises:
            DatabaseUnavailable: when it cannot be measured.
        """
        if self._path is None:
            return None
        try:
            return measure_room(self._path.parent)
        except OSError as error:
            raise DatabaseUnavailable(f"the room of the database cannot be measured: {error}") from error

    def size_bytes(self) -> int:
        """Return what the database takes on its disk, with what is written ahead.

        Raises:
            DatabaseUnavailable: when it cannot be measured.
        """
        if self._path is None:
            with self.read() as session:
                return session.scalar(text("SELECT pg_database_size(current_database())")) or 0
        try:
            log = self._path.with_name(f"{self._path.name}-wal")
            return self._path.stat().st_size + (log.stat().st_size if log.exists() else 0)
        except OSError as error:
            raise DatabaseUnavailable(f"the size of the database cannot be measured: {error}") from error

    def close(self) -> None:
        """Close all connections; the next one opens whatever file is there then."""
        if self._marks is not None:
            self._marks.close()
        self._engine.dispose()
        self._file_id = None
        self._log_ids = {}

    def _note_file(self, _connection: object, _record: object) -> None:
        """Remember which file the first connection opened; all others must be to the same."""
        if self._file_id is None:
            self._file_id = self._seen_file()
        self._require_same_file()

    def _note_log(self) -> None:
        """Remember the write-ahead log and its index: they are the same as long as a connection is open."""
        if self._path is not None and not self._log_ids:
            logs = (self._path.with_name(self._path.name + end) for end in ("-wal", "-shm"))
            self._log_ids = {log: found for log in logs if (found := _file_id(log)) != _NO_FILE}

    def _require_same_file(self) -> None:
        changed = [log for log, known in self._log_ids.items() if _file_id(log) != known]
        if self._path and self._file_id is not None and self._seen_file() != self._file_id:
            changed.insert(0, self._path)
        if changed:
            raise DatabaseUnavailable(
                f"the file {changed[0]} was removed or replaced while this process had it open; start the "
                "process again"
            )

    def _seen_file(self) -> tuple[int, int] | None:
        return None if self._path is None else _file_id(self._path)

    def _require_whole(self) -> None:
        """Read the file through when it has changed, and now and then; a large one as far as time allows.

        The connection is a new one: those of the pool may have the good pages of earlier in their memory.
        """
        if self._path is None or not self._checking.acquire(blocking=False):
            return
        try:
            is_file_there(self._path)
            changed_at, began = self._path.stat().st_mtime_ns, monotonic()
            if self._last_reading is not None and not self._last_reading.is_due(changed_at, now=began):
                return
            with closing(open_file(self._path)) as connection:
                damage = find_damage(connection, budget_seconds=_CHECK_BUDGET_SECONDS)
            if damage is not None:
                self._last_reading = None
                raise DatabaseUnusable(f"the database {self._path} is damaged: {damage}")
            self._last_reading = Reading(changed_at, began, monotonic() - began)
        except (OSError, sqlite3.Error) as error:
            raise DatabaseUnavailable(f"the database {self._path} cannot be read: {error}") from error
        finally:
            self._checking.release()


def before_commit(session: Session, act: Callable[[Session], None]) -> None:
    """Let something be written last in a transaction that writes, when all else of it is known."""
    session.info.setdefault(_LAST, []).append(act)


def _file_id(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return _NO_FILE
    return (facts.st_dev, facts.st_ino)


@dataclass(frozen=True)
class Reading:
    """When a file was read through, how long that took, in seconds, and when it had been changed, in ns."""

    changed_at_ns: int
    began: float
    took_seconds: float

    def is_due(self, changed_at_ns: int, *, now: float) -> bool:
        """Whether the file has to be read again."""
        rest = self.took_seconds / _READING_SHARE if changed_at_ns != self.changed_at_ns else _REREAD_SECONDS
        return now - self.began >= rest


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_migrations())


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@contextmanager
def _patience(connection: Connection) -> Iterator[None]:
    """Let a connection wait for a lock for a second only, and hold few pages in its memory."""
    own: Any = connection.connection.dbapi_connection
    before = {name: own.execute(f"PRAGMA {name}").fetchone()[0] for name in ("busy_timeout", "cache_size")}
    own.execute(f"PRAGMA busy_timeout={min(before['busy_timeout'], _CHECK_LOCK_MS)}")
    own.execute(f"PRAGMA cache_size={_PROBE_CACHE_PAGES}")
    try:
        yield
    finally:
        connection.rollback()
        for name, value in before.items():
            own.execute(f"PRAGMA {name}={value}")


def _try_to_write(connection: Connection) -> None:
    """Write a table into the log; whoever rolls it back leaves nothing of it."""
    connection.exec_driver_sql("CREATE TABLE write_probe (data)")
    connection.exec_driver_sql("INSERT INTO write_probe VALUES (zeroblob(?))", (_PROBE_BYTES,))


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    connection.isolation_level = None  # we emit BEGIN ourselves
    # SQLite's own lower() knows the letters A to Z only, but names may have an Ü.
    connection.create_function("lower", 1, _lower, deterministic=True)
    _write_ahead(connection)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:  # noqa: ANN401 - a DBAPI connection
    """Set the journal's mode; of several processes that open a new database at once, one does it.

    SQLite does not wait for the lock here, whatever its timeout: two connections that each hold a read lock
    and want the exclusive one would wait for each other.
    """
    deadline = monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
            sleep(_RETRY_SECONDS)


def _lower(value: object) -> str | None:
    return None if value is None else str(value).lower()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")


@contextmanager
def _database_errors() -> Iterator[None]:
    """Turn what the database or its driver raises into `DatabaseUnavailable`.

    Also a broken constraint that nobody expected: the rows are not what the code was told they are.
    """
    try:
        yield
    except sql_errors.DBAPIError as error:
        raise DatabaseUnavailable(f"the database failed: {error.orig}") from error
    except sql_errors.TimeoutError as error:
        raise DatabaseUnavailable(f"the database is too slow: {error}") from error
    except sqlite3.Error as error:
        raise DatabaseUnavailable(f"the database failed: {error}") from error

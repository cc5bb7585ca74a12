"""The fitness of a database file: whether it is one of this service, whole, and not of a later release."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from shared.errors import DatabaseUnavailable, DatabaseUnusable

#: What every release has, beside alembic's own table.
_OUR_TABLE, _VERSION_TABLE = "jobs", "alembic_version"
#: At a start others may be writing the tables in this moment.
_START_LOCK_SECONDS = 10.0
_MOST_LINES = 100
#: What is no damage of the file: rows that do not fit their table's rules, as another release may leave them.
_OF_A_ROW = re.compile(r"(?:NULL|NUMERIC|TEXT|non-[A-Z]+) value in |CHECK constraint failed in ")
#: Nor what is wrong with the trigrams: each start looks at them (`web/db/derived.py`).
_OF_THE_SEARCH = re.compile(r".*\binverted index for FTS5 table ")
#: SQLite's instructions between two looks at the clock: some milliseconds.
_INSTRUCTIONS = 50_000
#: What SQLite calls a file that stays as it is however often one tries.
_FINAL = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")


@dataclass(frozen=True)
class FileFacts:
    """What is there of a database before it is used; `damage` is what SQLite says is wrong with it."""

    tables: Collection[str] = ()
    revisions: Collection[str] = ()
    damage: str | None = None


def decide_fitness(facts: FileFacts, *, known: Collection[str]) -> str | None:
    """Return the revision of the tables, None without any; `known` are those that this release can read.

    Raises:
        DatabaseUnusable: when it is damaged, another program's, or of a later release.
    """
    if facts.damage is not None:
        raise DatabaseUnusable(f"is damaged: {facts.damage}")
    if not facts.tables:
        return None
    unknown = sorted(set(facts.revisions) - set(known))
    if not facts.revisions or (not unknown and _OUR_TABLE not in facts.tables):
        shown = ", ".join(sorted(facts.tables)[:5])
        raise DatabaseUnusable(f"belongs to another program: its tables are {shown}")
    if unknown and _OUR_TABLE not in facts.tables:
        raise DatabaseUnusable(f"belongs to another program, whose revision is '{unknown[0]}'")
    if unknown:
        newest = max(known, default="none")
        raise DatabaseUnusable(
            f"was written by a later release: its revision is '{unknown[0]}', and this release knows them up "
            f"to '{newest}': start that release, or put a backup from before its upgrade back"
        )
    return max(facts.revisions)


def examine(path: Path, *, known: Collection[str], budget_seconds: float) -> str | None:
    """Return the revision of the database at a path; None where there is none yet, but one can be made.

    Reading all of it is given up after `budget_seconds`, and what was read until then taken for all of it.

    Raises:
        DatabaseUnusable: with a sentence on what is there instead.
        DatabaseUnavailable: when it is locked or fails in another way that may pass.
    """
    try:
        if not is_file_there(path):
            return None
        return decide_fitness(_read_facts(path, budget_seconds), known=known)
    except DatabaseUnusable as error:
        raise DatabaseUnusable(f"the database {path} {error.detail}") from error
    except sqlite3.Error as error:
        if is_final(error):
            raise DatabaseUnusable(f"the database {path} cannot be read: {error}") from error
        raise DatabaseUnavailable(f"the database {path} failed: {error}") from error


def is_file_there(path: Path) -> bool:
    """Return whether there is a file at a path that can be written; False if there is nothing.

    Raises:
        DatabaseUnusable: when something else is there, or the permission is missing.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise DatabaseUnusable(f"cannot be reached: {error.strerror}") from error
    if mode is not None and not stat.S_ISREG(mode):
        raise DatabaseUnusable("is a folder" if stat.S_ISDIR(mode) else "is not a file")
    needed = os.R_OK | os.W_OK
    if mode is not None and not _may(path, needed):
        raise DatabaseUnusable(f"cannot be read and written by user {os.geteuid()}: {_why(path)}")
    # SQLite keeps its log beside the file.
    if not _may(path.parent, needed | os.X_OK):
        raise DatabaseUnusable(
            f"lies in a folder that user {os.geteuid()} cannot write to: {_why(path.parent)}"
        )
    return mode is not None


def is_final(error: sqlite3.Error) -> bool:
    """Whether trying again would change nothing; a full disk or a lock may pass."""
    return str(getattr(error, "sqlite_errorname", "")).startswith(_FINAL)


def find_damage(connection: sqlite3.Connection, *, budget_seconds: float) -> str | None:
    """Return the first damage that SQLite finds; None also when the time was up before it found any."""
    deadline = monotonic() + budget_seconds
    connection.set_progress_handler(lambda: monotonic() > deadline, _INSTRUCTIONS)
    try:
        found = [str(line) for (line,) in connection.execute(f"PRAGMA quick_check({_MOST_LINES})")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_INTERRUPT":
            return None
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return first_damage(found)


def first_damage(lines: Iterable[str]) -> str | None:
    """Return the first line of a check that tells of a damage that nothing but a backup makes good."""
    damage = (line for line in lines if line != "ok" and not _OF_A_ROW.match(line))
    return next((" ".join(line.split()) for line in damage if not _OF_THE_SEARCH.match(line)), None)


def open_file(path: Path, *, lock_seconds: float = 1.0, any_thread: bool = False) -> sqlite3.Connection:
    """Return a connection of its own, which reads what lies on the disk now; it never makes a file.

    With `any_thread` it may be used in other threads than this one, by one at a time.
    """
    url = f"file:{quote(str(path))}?mode=rw"
    return sqlite3.connect(
        url, uri=True, timeout=lock_seconds, isolation_level=None, check_same_thread=not any_thread
    )


def _read_facts(path: Path, budget_seconds: float) -> FileFacts:
    with closing(open_file(path, lock_seconds=_START_LOCK_SECONDS)) as connection:
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            revisions = set()
            if _VERSION_TABLE in tables:
                rows = connection.execute(f"SELECT version_num FROM {_VERSION_TABLE}")  # noqa: S608
                revisions = {str(revision) for (revision,) in rows}
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not is_final(error):
                raise
            return FileFacts(damage=str(error))
        return FileFacts(tables, revisions, find_damage(connection, budget_seconds=budget_seconds))


def _may(path: Path, needed: int) -> bool:
    return os.access(path, needed, effective_ids=os.access in os.supports_effective_ids)


def _why(path: Path) -> str:
    """Return in words what keeps a process from writing: permissions, or a file system that is read-only."""
    facts = path.stat()
    try:
        is_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        is_read_only = False
    if is_read_only:
        return os.strerror(errno.EROFS).lower()
    return f"it belongs to user {facts.st_uid}, with the permissions {stat.S_IMODE(facts.st_mode):04o}"

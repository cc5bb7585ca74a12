"""The database: its connection, its two kinds of session, and its migrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from shared.errors import DatabaseUnavailable

_BUSY_SECONDS = 10
_RETRY_SECONDS = 0.01
_PRAGMAS = (
    # FULL: a 202 promises that the row survives a power cut; NORMAL would sync at checkpoints only.
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={_BUSY_SECONDS * 1000}",
    "journal_size_limit=67108864",
)


class Database:
    """One database. Sessions are short; none stays open while a request is sent or an answer awaited."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        arguments: dict[str, Any] = {}
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        if self._is_sqlite:
            arguments = {"timeout": _BUSY_SECONDS}
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(url, connect_args=arguments)
        if self._is_sqlite:
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
        with _database_errors(), self._reading() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that writes; it commits at the end, or rolls back on an error.

        SQLite's writers wait for each other at BEGIN IMMEDIATE; after a deferred BEGIN, a read that turns
        into a write would fail.

        Raises:
            DatabaseUnavailable: when the database does not answer, or stays locked for 10 s.
        """
        with _database_errors(), self._writing.begin() as session:
            yield session

    def upgrade(self) -> None:
        """Bring the tables to this version; two processes may call it at once."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with (
            _database_errors(),
            self._engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection,
        ):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def check(self) -> None:
        """Prove that the database answers; raise `DatabaseUnavailable` otherwise."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


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
    try:
        yield
    except IntegrityError:
        raise
    except DatabaseError as error:
        raise DatabaseUnavailable(f"the database failed: {error.orig}") from error

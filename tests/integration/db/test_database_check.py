"""The check of readiness: it proves that a write can begin, keeps nothing, and does not wait for long."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from shared.errors import DatabaseUnavailable
from web.db.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "atelier.db"


@pytest.fixture
def database(path: Path):
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    yield database
    database.close()


def tell_every_connection(database: Database, pragma: str) -> None:
    database.close()
    event.listen(database._engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {pragma}"))


def test_a_check_leaves_nothing_behind(database: Database, path: Path):
    other = sqlite3.connect(path)
    before = other.execute("SELECT * FROM sqlite_master").fetchall()
    free = other.execute("PRAGMA freelist_count").fetchone()  # what migrations have dropped
    for _ in range(3):
        database.check()
    assert other.execute("SELECT * FROM sqlite_master").fetchall() == before
    assert other.execute("PRAGMA freelist_count").fetchone() == free
    other.close()


def test_a_check_puts_bytes_into_the_log(database: Database, path: Path):
    log = path.with_name("atelier.db-wal")
    with database.read() as session:
        session.connection().exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        before = log.stat().st_size
        database.check()
        assert log.stat().st_size >= before + 32_768


def test_a_check_leaves_the_connection_as_it_was(database: Database):
    def pragmas() -> list[int]:
        with database.read() as session:
            own = session.connection()
            return [
                own.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("busy_timeout", "cache_size")
            ]

    before = pragmas()
    database.check()
    assert pragmas() == before


@pytest.mark.parametrize("pragma", ["query_only=1", "max_page_count=1"], ids=["read-only", "full"])
def test_a_database_that_takes_no_write_does_not_pass(database: Database, pragma: str):
    tell_every_connection(database, pragma)
    with pytest.raises(DatabaseUnavailable, match=r"readonly|full"):
        database.check()
    with database.read() as session:  # which is all that the check had looked at before
        assert session.connection().exec_driver_sql("SELECT 1").scalar() == 1


def test_a_lock_that_is_held_is_told_long_before_a_writer_would_give_up(database: Database, path: Path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    patience_ms = []

    def note(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement == "BEGIN IMMEDIATE":
            own = connection.connection.dbapi_connection
            patience_ms.append(own.execute("PRAGMA busy_timeout").fetchone()[0])

    event.listen(database._engine, "before_cursor_execute", note)
    with pytest.raises(DatabaseUnavailable, match="locked"):
        database.check()
    assert patience_ms == [1000]
    other.execute("ROLLBACK")
    other.close()
    database.check()

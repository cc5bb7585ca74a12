"""Marks of a database file: the same as long as nobody has committed anything, whoever that is."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text

from shared.errors import DatabaseUnavailable
from web.db.database import Database

_COUNT = text("SELECT value FROM numbers")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "atelier.db"


@pytest.fixture
def database(path):
    database = Database(f"sqlite:///{path}")
    with database.write() as session:
        session.execute(text("CREATE TABLE numbers (value INTEGER)"))
        session.execute(text("INSERT INTO numbers VALUES (0)"))
    yield database
    database.close()


def count_up(database):
    with database.write() as session:
        session.execute(text("UPDATE numbers SET value = value + 1"))


def read(database):
    with database.read() as session:
        return session.scalar(_COUNT)


def test_a_mark_stays_while_nothing_is_written(database):
    mark = database.mark()
    assert mark is not None
    read(database)
    with database.write() as session:
        session.execute(text("UPDATE numbers SET value = 7"))
        session.rollback()
    assert database.mark() == mark


def test_each_commit_changes_it(database):
    marks = []
    for _ in range(20):
        marks.append(database.mark())
        count_up(database)
    marks.append(database.mark())
    assert len(set(marks)) == 21


def test_what_is_written_but_not_committed_does_not(database):
    before = database.mark()
    with database.write() as session:
        session.execute(text("UPDATE numbers SET value = 7"))
        session.flush()
        assert database.mark() == before
    assert database.mark() != before


def test_a_reader_within_a_transaction_sees_the_old_and_the_mark_tells_the_new(database):
    """SQLite tells a connection that reads nothing of what others write: so it must not be one of those."""
    with database.read() as session:
        assert session.scalar(_COUNT) == 0
        before = database.mark()
        count_up(database)
        assert session.scalar(_COUNT) == 0  # its snapshot
        assert database.mark() != before
        again = database.mark()
        assert database.mark() == again
    assert read(database) == 1


def test_another_process_that_writes_changes_it(database, path):
    before = database.mark()
    program = f"import sqlite3; c = sqlite3.connect({str(path)!r}); "
    program += "c.execute('UPDATE numbers SET value = 9'); c.commit(); c.close()"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert database.mark() != before
    assert read(database) == 9


def test_many_threads_take_marks_while_others_write(database):
    """Two marks that are equal have nothing written between them, as what was read between them shows."""

    def look(_number):
        before = database.mark()
        first, second = read(database), read(database)
        return before, database.mark(), first, second

    with ThreadPoolExecutor(8) as pool:
        looks = [pool.submit(look, number) for number in range(200)]
        writes = [pool.submit(count_up, database) for _ in range(40)]
        for write in writes:
            write.result()
        found = [one.result() for one in looks]
    for before, after, first, second in found:
        assert first == second or before != after
        assert None not in (before, after)
    by_mark = {}
    for before, after, first, _ in found:
        if before == after:
            assert by_mark.setdefault(before, first) == first


def test_a_log_that_is_written_back_is_no_news_that_hides_any(database, path):
    count_up(database)
    before = database.mark()
    with closing(sqlite3.connect(path)) as own:
        own.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    count_up(database)
    assert database.mark() != before


def test_a_file_that_was_put_back_has_no_mark_of_before(database, path, tmp_path):
    """SQLite counts anew with each opening: the same number may come again, of other content."""
    database.close()
    shutil.copy(path, tmp_path / "kept.db")
    assert read(database) == 0
    seen = []
    for _ in range(3):
        count_up(database)
        seen.append(database.mark())
    database.close()
    (tmp_path / "kept.db").replace(path)
    assert read(database) == 0
    for _ in range(3):
        count_up(database)
        assert database.mark() not in seen


def test_a_file_that_is_replaced_while_it_is_open_is_refused(database, path, tmp_path):
    assert database.mark() is not None
    with closing(sqlite3.connect(path)) as own:
        own.execute("VACUUM INTO ?", (str(tmp_path / "other.db"),))
    (tmp_path / "other.db").replace(path)
    with pytest.raises(DatabaseUnavailable, match="removed or replaced"):
        database.mark()


def test_there_is_none_before_anything_was_read_and_none_of_another_database(path, database):
    database.close()
    fresh = Database(f"sqlite:///{path}")
    assert fresh.mark() is None
    read(fresh)
    assert fresh.mark() is not None
    fresh.close()
    named = Database(f"sqlite:///file:{path}?uri=true")  # no path that it knows, as with any other database
    assert read(named) == 0
    assert named.mark() is None
    named.close()


def test_a_lock_is_not_waited_for(database, path):
    """A mark that cannot be told at once is none; whoever asks reads instead."""
    database.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as own:
        own.execute("PRAGMA journal_mode=DELETE")
        own.execute("PRAGMA locking_mode=EXCLUSIVE")
        own.execute("BEGIN EXCLUSIVE")
        database._file_id = database._seen_file()  # as if it had been read before
        assert database.mark() is None
        own.execute("COMMIT")
    assert read(database) == 0
    assert database.mark() is not None

"""What SQLite derives from the jobs: it follows every write, and a start mends what did not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

import web
from shared.status import JobStatus
from tests.releases.release import unpack_data
from tests.support.many_jobs import BEGINNING, add_rows, job_row, taken_back
from tests.support.rows import add_picture
from web.db import derived
from web.db.database import Database
from web.db.derived import find_fault
from web.db.models import Asset, Job
from web.jobs.counts import StatusCounts
from web.jobs.lists import JobFilter, count_by_status, list_jobs

NAMES = ("ÜBERFAHRT", "你好世界", "", "Évreux à l'aube", "zq")
#: What search has to find, by a part of it.
FOUND = {"überf": [0], "ÜB": [0], "好": [1], "你好世": [1], "À L'AUBE": [3], "Q": [4], "nirgends": []}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/atelier.db"


def with_names(url: str) -> Database:
    database = Database(url)
    database.upgrade()
    with database.write() as session:
        asset = add_picture(session, now=BEGINNING)
        add_rows(session, [job_row(asset, number, name=name) for number, name in enumerate(NAMES)])
    return database


def check_search(database: Database) -> None:
    with database.read() as session:
        for part, numbers in FOUND.items():
            found = list_jobs(session, caller="local", only=JobFilter(name=part), limit=5)
            assert [job.name for job in found] == [NAMES[number] for number in numbers]
        check_trigrams(session)
        assert find_fault(session.connection()) is None


def check_trigrams(session: Session) -> None:
    """Have FTS5 itself compare what it has with the names."""
    session.execute(text("INSERT INTO job_search (job_search, rank) VALUES ('integrity-check', 1)"))


# Whatever is written, all of it follows.

WORDS = st.sampled_from(["", "a", "Ä", "ÄÖ", "abc", "Brücke", "İ", "你好世界", "a\uffffb", '"*'])
FILTERS = [
    *(JobFilter(), JobFilter(name="ä"), JobFilter(name="brü"), JobFilter(labels={"a": "1"})),
    *(JobFilter(batch_id="one"), JobFilter(name="a", labels={"a": "1"})),
]
COLUMNS = {
    "name": WORDS,
    "status": st.sampled_from([status.value for status in JobStatus]),
    "kind": st.sampled_from(["job", "draft"]),
    "caller": st.sampled_from(["local", "other"]),
    "batch_id": st.sampled_from([None, "one"]),
}
VALUES = st.fixed_dictionaries({}, optional=COLUMNS).filter(bool)
ACTIONS = st.one_of(
    st.tuples(st.just("add"), st.fixed_dictionaries(COLUMNS), st.booleans()),
    st.tuples(st.just("change"), VALUES, st.integers(0, 9)),
    st.tuples(st.just("change all"), VALUES, st.none()),
    st.tuples(st.just("rename id"), st.none(), st.integers(0, 9)),
    st.tuples(st.just("delete"), st.none(), st.integers(0, 9)),
    st.tuples(st.just("look"), st.none(), st.none()),
)


def act(session: Session, what: str, values: dict[str, Any] | None, which: Any) -> None:
    ids = session.scalars(select(Job.id).order_by(Job.id)).all()
    if what == "add":
        given = {**values, "status": JobStatus(values["status"])}
        row = job_row(session.scalars(select(Asset)).one(), **given)
        label = {"job_id": row["id"], "key": "a", "value": "1"}
        add_rows(session, [row], [label] if which else [])
    elif what in ("change", "change all"):
        setting = ", ".join(f"{name} = :{name}" for name in values)
        only = " WHERE id = :id" if what == "change" else ""
        which_id = ids[which % len(ids)] if ids and what == "change" else None
        given = {**values, "id": which_id} if only else values
        session.execute(text(f"UPDATE jobs SET {setting}{only}"), given)
    elif what == "rename id" and ids:
        session.execute(text("DELETE FROM job_labels WHERE job_id = :id"), {"id": ids[which % len(ids)]})
        session.execute(text("UPDATE jobs SET id = id || 'x' WHERE id = :id"), {"id": ids[which % len(ids)]})
    elif what == "delete" and ids:
        session.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": ids[which % len(ids)]})


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('derived')}/atelier.db")
    database.upgrade()
    with database.write() as session:
        add_picture(session, now=BEGINNING)
    yield database
    database.close()


def check_counts(session: Session, counts: StatusCounts) -> None:
    for only in FILTERS:
        assert counts.read(session, caller="local", only=only) == count_by_status(
            session, caller="local", only=only
        )


@given(actions=st.lists(ACTIONS, max_size=16))
def test_names_trigrams_and_counts_follow_every_write(database, actions):
    with taken_back(database) as session:
        # One that looks after every write, and one that looks now and then.
        always, counts = StatusCounts(), StatusCounts()
        for what, values, which in actions:
            act(session, what, values, which)
            check_counts(session, always)
            if what == "look":
                check_counts(session, counts)
        check_counts(session, counts)
        assert find_fault(session.connection()) is None
        check_trigrams(session)


# What another program left is mended by the next start.


def _run(*statements: str) -> Callable[[sqlite3.Connection], None]:
    def act(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return act


DRIFTS: dict[str, Callable[[sqlite3.Connection], None]] = {
    "a program with other small letters": _run("UPDATE jobs SET name = name || ' ' WHERE name <> ''"),
    "jobs made anew": _run(
        *("CREATE TABLE other AS SELECT * FROM jobs", "DROP TABLE jobs", "ALTER TABLE other RENAME TO jobs")
    ),
    "a name that is missing": _run("DELETE FROM job_names WHERE number = 2"),
    "a name of no job": _run(
        "INSERT INTO job_names (job_id, caller, kind, status, name) VALUES ('x', 'local', 'job', '', 'zq')"
    ),
    "another status": _run("UPDATE job_names SET status = 'failed' WHERE number = 1"),
    "no trigrams": _run("INSERT INTO job_search (job_search) VALUES ('delete-all')"),
    "trigrams of another name": _run(
        "INSERT INTO job_search (job_search, rowid, name) "
        "SELECT 'delete', number, name FROM job_search_names WHERE number = 1"
    ),
    "trigrams that cannot be read": _run("UPDATE job_search_data SET block = zeroblob(3) WHERE id > 1"),
    "no terms": _run("DROP TABLE job_search_terms"),
    **{f"no {name}": _run(f"DROP TRIGGER {name}") for name in derived._TRIGGERS},
    **{f"no {name}": _run(f"DROP TRIGGER {name}") for name in derived._SEARCH_TRIGGERS},
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_start_mends_what_does_not_fit_the_jobs(url: str, drift: str):
    database, counts = with_names(url), StatusCounts()
    with database.read() as session:
        assert find_fault(session.connection()) is None
        counts.read(session, caller="local", only=JobFilter())
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        DRIFTS[drift](other)
        other.execute("UPDATE jobs SET name = rtrim(name)")
        if drift.startswith("no job_"):
            other.execute("UPDATE jobs SET status = 'failed'")  # which nothing may have followed
    with database.read() as session:
        assert find_fault(session.connection()) is not None
    database.upgrade()
    check_search(database)
    with database.read() as session:
        check_counts(session, counts)
    database.close()


def test_a_disk_that_takes_no_write_keeps_no_service_from_starting(url: str):
    with_names(url).close()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("DROP TRIGGER job_moved")
    database = Database(url)
    event.listen(database._engine, "connect", lambda own, _: own.execute("PRAGMA query_only=1"))
    database.upgrade()
    with database.read() as session:
        assert len(list_jobs(session, caller="local", only=JobFilter(), limit=9)) == len(NAMES)
    database.close()


def test_another_sqlite_without_fts5_does_without_and_back(url: str, monkeypatch: pytest.MonkeyPatch):
    database = with_names(url)
    monkeypatch.setattr(derived, "has_trigrams", lambda _: False)
    database.upgrade()
    with database.write() as session:
        triggers = session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all()
        assert not set(triggers) & set(derived._SEARCH_TRIGGERS)  # they would fail
        session.execute(text("UPDATE jobs SET name = 'Später' WHERE name = ''"))
        found = list_jobs(session, caller="local", only=JobFilter(name="PÄT"), limit=5)
        assert [job.name for job in found] == ["Später"]
        session.execute(text("UPDATE jobs SET name = '' WHERE name = 'Später'"))
    monkeypatch.undo()
    database.upgrade()
    check_search(database)
    database.close()


# Databases of earlier releases.


def _migrate(database: Database, step: Callable[..., None], revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(web.__file__).parent / "db" / "migrations"))
    with database._engine.begin() as connection:
        config.attributes["connection"] = connection
        step(config, revision)


def test_names_that_were_there_before_are_found(url: str):
    """Also those with letters that SQLite cannot fold; and what is derived can be taken back."""
    database = with_names(url)
    _migrate(database, command.downgrade, "0010")
    with database.read() as session:
        there = session.execute(text("SELECT type, name FROM sqlite_master")).all()
        assert not [row for row in there if row.name.startswith(("job_names", "job_search", "job_changes"))]
        assert not [row for row in there if row.type in ("trigger", "view")]
    database.upgrade()
    check_search(database)
    database.close()


def test_so_are_those_of_the_first_release(tmp_path: Path):
    path = unpack_data("first", tmp_path) / "atelier.db"
    with closing(sqlite3.connect(path)) as before:
        names = {name for (name,) in before.execute("SELECT name FROM jobs")}
    assert any(names)
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    with database.read() as session:
        assert find_fault(session.connection()) is None
        check_trigrams(session)
        for name in filter(None, names):
            only = JobFilter(name=name.upper())
            assert {job.name for job in list_jobs(session, caller="local", only=only, limit=50)} >= {name}
    database.close()

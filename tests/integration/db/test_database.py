"""The database: migrations that fit the tables, and writers that lose nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event, text

import web
from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, StaleJob
from shared.options import StyleOptions
from shared.status import DEFAULT_PRIORITY
from tests.support.rows import add_picture
from tests.support.statements import noted_statements
from web.db.database import Database
from web.db.models import Base, Job
from web.jobs.queries import add_job, get_job
from web.jobs.routing import queue_rank
from web.jobs.states import Trigger
from web.jobs.transitions import apply_trigger, write_changes


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/atelier.db"


def add_one_job(database: Database) -> Job:
    with database.write() as session:
        asset = add_picture(session, now=utc_now(), sha256="aa", size=(64, 64))
        return add_job(
            session, caller="local", name="", content=asset, style=asset, options=StyleOptions(),
            labels={"a": "b"}, max_attempts=3, now=utc_now(),
        )  # fmt: skip


def _is_of_a_model(name: str | None, kind: str, _parents: object) -> bool:
    """The index of names is no table of a model, nor are those that SQLite keeps it in."""
    return kind != "table" or not str(name).startswith("job_search")


def test_the_migrations_make_the_tables_of_the_models(url: str):
    database = Database(url)
    database.upgrade()
    database.upgrade()
    database.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"render_as_batch": True, "include_name": _is_of_a_model}
        )
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_tables_of_this_version_are_not_written_at_a_start(url: str):
    """On a disk that became read-only, whoever starts can still serve what there is."""
    first = Database(url)
    first.upgrade()
    add_one_job(first)
    first.close()
    database = Database(url)
    event.listen(database._engine, "connect", lambda own, _: own.execute("PRAGMA query_only=1"))
    database.upgrade()
    with database.read() as session:
        assert session.query(Job).count() == 1
    database.close()


def test_jobs_of_the_first_version_survive_the_migrations(url: str, tmp_path: Path):
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(Path(web.__file__).parent / "db" / "migrations"))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        asset = "'a', 'local', 'aa', 'a.png', 'image/png', 1, 64, 64, '2026-01-01'"
        connection.execute(text(f"INSERT INTO assets VALUES ({asset})"))
        columns = "id, caller, name, status, version, attempt, max_attempts, priority, content_asset_id, "
        columns += "style_asset_id, options, created_at, queued_at, step, outputs, metrics"
        values = "'j', 'local', '', 'queued', 1, 1, 3, 0, 'a', 'a', '{}', '2026-01-01', '2026-01-01', 0, "
        values += "'[]', '{}'"
        connection.execute(text(f"INSERT INTO jobs ({columns}) VALUES ({values})"))
    engine.dispose()
    database.upgrade()
    with database.read() as session:
        job = get_job(session, "j")
    assert (job.status, job.lost_workers, job.checkpoints_since, job.origin) == ("queued", 0, 1, None)
    # As one that is handed in now and asks for no priority.
    assert (job.priority, job.queue_rank) == (DEFAULT_PRIORITY, queue_rank(DEFAULT_PRIORITY))
    database.close()


@pytest.mark.parametrize("number", range(12))  # it went wrong once in seven
def test_processes_may_make_and_migrate_a_database_at_once(url: str, number: int):
    databases = [Database(url) for _ in range(4)]
    together = Barrier(4)

    def upgrade(database: Database) -> None:
        together.wait()
        database.upgrade()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, databases))
    for database in databases:
        database.check()
        database.close()


def test_writers_of_a_process_take_turns_before_sqlite_has_them_wait(url: str, monkeypatch):
    """Who waits for SQLite's lock sleeps, longer and longer, also when it has long been free."""
    database = Database(url)
    database.upgrade()
    monkeypatch.setattr("web.db.database._BUSY_SECONDS", 0.05)

    def begin() -> None:
        with database.write() as session:
            session.execute(text("SELECT 1"))

    with ThreadPoolExecutor(1) as pool, noted_statements() as noted:
        with database.write() as session:
            session.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable, match="written by others"):
                pool.submit(begin).result()
            with database.read() as reading:  # who reads waits for nobody
                reading.execute(text("SELECT 2"))
            assert [one for one in noted if "IMMEDIATE" in one] == ["BEGIN IMMEDIATE"]
        pool.submit(begin).result()
    database.close()


def test_concurrent_writers_lose_no_update(url: str):
    database = Database(url)
    database.upgrade()
    job = add_one_job(database)

    def count_up(_number: int) -> None:
        with database.write() as session:
            row = get_job(session, job.id)
            write_changes(session, row, {"step": row.step + 1}, now=utc_now())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count_up, range(80)))
    with database.read() as session:
        assert get_job(session, job.id).step == 80
    database.close()


def test_a_change_of_an_old_copy_is_stale(url: str):
    database = Database(url)
    database.upgrade()
    old = add_one_job(database)
    with database.write() as session:
        apply_trigger(session, get_job(session, old.id), Trigger.CLAIMED, now=utc_now())
    with pytest.raises(StaleJob), database.write() as session:
        apply_trigger(session, session.merge(old, load=False), Trigger.CANCEL, now=utc_now())
    with database.read() as session:
        assert get_job(session, old.id).status == "running"
    database.close()


def test_a_failed_transaction_leaves_nothing(url: str):
    database = Database(url)
    database.upgrade()
    job = add_one_job(database)

    def fail_half_way() -> None:
        with database.write() as session:
            apply_trigger(session, get_job(session, job.id), Trigger.CLAIMED, now=utc_now())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with database.read() as session:
        assert (get_job(session, job.id).status, get_job(session, job.id).version) == ("queued", 1)
    database.close()


def test_a_database_that_cannot_be_opened_says_so(tmp_path: Path):
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(DatabaseUnavailable):
        Database(f"sqlite:///{tmp_path}/folder.db").upgrade()

"""What may lie where the database should: each thing is told in a sentence, and found while running, too."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

import web
from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, DatabaseUnusable, InvalidSettings
from shared.options import StyleOptions
from tests.support.rows import add_picture
from web.db.database import Database
from web.db.fitness import FileFacts, decide_fitness, first_damage
from web.jobs.queries import add_job

JOBS = 400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "atelier.db"


@pytest.fixture
def database(path: Path):
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with some hundred jobs, all of them in the one file."""
    path = tmp_path_factory.mktemp("made") / "atelier.db"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    with database.write() as session:
        asset = add_picture(session, now=utc_now(), sha256="aa", size=(64, 64))
        for number in range(JOBS):
            add_job(
                session, caller="local", name=f"job {number}", content=asset, style=asset,
                options=StyleOptions(), labels={}, max_attempts=3, now=utc_now(),
            )  # fmt: skip
    database.close()  # the last connection moves the log into the file
    assert path.stat().st_size > 100_000
    return path


@pytest.fixture
def full(made: Path, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    shutil.copy(made, path)
    return path


def damage_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(os.urandom(path.stat().st_size // 3))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage_the_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * 100)


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_a_text(path: Path) -> None:
    path.write_text("no database at all, but long enough for a header " * 100)


def put_another_programs(path: Path) -> None:
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url)")
    other.close()


def put_another_programs_with_revisions(path: Path) -> None:
    put_another_programs(path)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE alembic_version (version_num)")
    other.execute("INSERT INTO alembic_version VALUES ('0001')")
    other.commit()
    other.close()


def make_it_of_a_later_release(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.commit()
    other.close()


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "damaged in the middle": (damage_the_middle, "damaged"),
    "truncated": (truncate, "damaged"),
    "without a head": (damage_the_head, "not a database|damaged"),
    "a folder": (put_a_folder, "is a folder"),
    "a text": (put_a_text, "not a database"),
    "another program's": (put_another_programs, "another program: its tables are bookmarks"),
    "another program's with revisions": (put_another_programs_with_revisions, "another program"),
    "of a later release": (make_it_of_a_later_release, "later release: its revision is '9999'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_database_is_refused_in_a_sentence_and_left_as_it_is(full: Path, case: str):
    spoil, words = WRONG[case]
    spoil(full)
    before = full.read_bytes() if full.is_file() else None
    for start in (Database.upgrade, Database.require_current):
        database = Database(f"sqlite:///{full}")
        with pytest.raises(DatabaseUnusable, match=words) as raised:
            start(database)
        database.close()
        assert str(full) in raised.value.detail
    assert (full.read_bytes() if full.is_file() else None) == before


def test_an_empty_file_becomes_a_database_for_the_service_only(database: Database, path: Path):
    path.touch()
    with pytest.raises(DatabaseUnusable, match="has no tables yet"):
        database.require_current()
    database.upgrade()
    database.require_current()


def test_an_older_database_is_for_the_service_to_upgrade(full: Path, database: Database):
    engine = create_engine(f"sqlite:///{full}")
    config = Config()
    config.set_main_option("script_location", str(Path(web.__file__).parent / "db" / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")
    engine.dispose()
    with pytest.raises(DatabaseUnusable, match="revision '0005'"):
        database.require_current()
    database.upgrade()
    database.require_current()


@pytest.mark.parametrize("url", ["nonsense", "oracle-of-delphi://there", "sqlite:/half", ""])
def test_an_address_that_is_none_is_a_wrong_setting(url: str):
    with pytest.raises(InvalidSettings, match="ATELIER_DATABASE_URL"):
        Database(url)


def test_an_address_in_sqlites_own_form_has_no_file_that_we_know(tmp_path: Path):
    database = Database(f"sqlite:///file:{tmp_path}/atelier.db?uri=true")
    database.upgrade()
    database.check()
    assert database.room() is None
    database.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable, match=r"folder .*file/below"):
        Database(f"sqlite:///{tmp_path}/file/below/atelier.db")


def test_what_is_decided_from_what_is_seen():
    known = {"0001", "0002"}
    ours = {"jobs", "alembic_version"}
    assert decide_fitness(FileFacts(), known=known) is None
    assert decide_fitness(FileFacts(ours, {"0002"}), known=known) == "0002"
    for facts in (
        FileFacts(ours, ()),
        FileFacts(ours, {"0003"}),
        FileFacts({"alembic_version"}, {"0002"}),
        FileFacts({"alembic_version"}, {"x"}),
        FileFacts(ours, {"0002"}, damage="page 3"),
    ):
        with pytest.raises(DatabaseUnusable):
            decide_fitness(facts, known=known)


def test_a_row_that_breaks_a_rule_is_no_damage_of_the_file(full: Path, database: Database):
    other = sqlite3.connect(full, isolation_level=None)
    other.execute("PRAGMA writable_schema=ON")
    other.execute(
        "UPDATE sqlite_master SET sql = replace(sql, 'worker_id VARCHAR', 'worker_id VARCHAR NOT NULL') "
        "WHERE name = 'jobs'"
    )
    other.close()
    other = sqlite3.connect(full)
    assert "NULL value in" in other.execute("PRAGMA quick_check(1)").fetchone()[0]
    other.close()
    database.require_current()
    database.check()


@pytest.mark.parametrize("spoil", [damage_the_middle, truncate, damage_the_head])
def test_damage_done_while_it_runs_is_found_by_the_check(full: Path, database: Database, spoil):
    database.check()
    spoil(full)
    os.utime(full, ns=(1, 1))  # whatever the clock's resolution is
    database._last_reading = None
    with pytest.raises(DatabaseUnavailable):
        database.check()


def test_reading_a_malformed_page_is_an_unavailable_database(full: Path, database: Database):
    damage_the_middle(full)
    with pytest.raises(DatabaseUnavailable), database.read() as session:
        session.connection().exec_driver_sql("SELECT * FROM jobs ORDER BY name").all()


@pytest.mark.parametrize("end", ["-wal", "-shm"])
@pytest.mark.parametrize("used", ["read", "write"])
def test_a_log_that_is_removed_while_it_is_open_takes_no_more_writes(
    full: Path, database: Database, end: str, used: str
):
    """Whoever opens the file then begins a log of its own, and neither sees what the other writes."""
    with getattr(database, used)() as session:
        session.connection().exec_driver_sql("SELECT count(*) FROM jobs").all()
    with database.write():
        full.with_name(full.name + end).unlink()
    for act in (database.check, lambda: database.write().__enter__(), lambda: database.read().__enter__()):
        with pytest.raises(DatabaseUnavailable, match=f"{end} was removed or replaced"):
            act()
    database.close()
    database.check()


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_goes_away_while_it_is_open_takes_no_more_writes(
    full: Path, database: Database, how: str
):
    with database.write() as session:
        add_picture(session, now=utc_now(), sha256="bb", size=(64, 64))
    copy = full.read_bytes()
    full.unlink()
    if how == "replaced":
        full.with_suffix(".new").write_bytes(copy)
        full.with_suffix(".new").rename(full)
    for act in (database.check, lambda: database.write().__enter__(), lambda: database.read().__enter__()):
        with pytest.raises(DatabaseUnavailable, match="removed or replaced"):
            act()
    assert full.exists() is (how == "replaced")
    if how == "replaced":
        database.close()
        database.check()  # as of a process that was started again


def test_a_broken_constraint_is_an_unavailable_database(database: Database):
    database.upgrade()
    with pytest.raises(DatabaseUnavailable, match=r"UNIQUE|NOT NULL"), database.write() as session:
        session.connection().exec_driver_sql("INSERT INTO assets (id) VALUES ('a')")


@pytest.mark.parametrize(
    ("lines", "damage"),
    [
        (["ok"], None),
        (["NULL value in jobs.name"], None),
        (["malformed inverted index for FTS5 table main.job_search"], None),
        (["unable to validate the inverted index for FTS5 table main.job_search: interrupted"], None),
        (["malformed inverted index for FTS5 table main.job_search", "row 3\n missing"], "row 3 missing"),
        (["database disk image is malformed"], "database disk image is malformed"),
    ],
)
def test_what_a_start_mends_is_no_damage(lines: list[str], damage: str | None):
    assert first_damage(lines) == damage

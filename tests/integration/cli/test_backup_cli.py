"""`atelier backup` and `atelier restore` as commands, and what every command refuses beside wrong data."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.clock import utc_now
from shared.settings import Settings
from shared.storage.layout import asset_key
from shared.storage.local import LocalStore
from tests.support.rows import add_picture
from web.cli.local.host import FolderLock
from web.db.database import Database
from web.identity import establish_identity

pytestmark = pytest.mark.process

Run = Callable[..., subprocess.CompletedProcess[str]]


def make_service(folder: Path, letter: str) -> Settings:
    """A service's data with one picture that is known, and one old one that is not."""
    settings = Settings(data_dir=folder)
    database = Database(settings.resolved_database_url)
    database.upgrade()
    store = LocalStore(settings.data_dir / "storage")
    establish_identity(database, store, now=utc_now(), may_make=True)
    with database.write() as session:
        add_picture(session, now=utc_now(), sha256="2cf24dba" + letter * 56)
    database.close()
    for sha256 in ("2cf24dba" + letter * 56, "d" * 64):
        store.write(asset_key(sha256), letter.encode())
        os.utime(store.root / asset_key(sha256), (0, 0))
    return settings


@pytest.fixture
def service(tmp_path: Path) -> Settings:
    return make_service(tmp_path / "data", "a")


def atelier(settings: Settings, *words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    given = {"ATELIER_DATA_DIR": str(settings.data_dir), "ATELIER_REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-m", "web.cli.main", *map(str, words)]
    return subprocess.run(
        command, env={**os.environ, **given, **environ}, capture_output=True, text=True, check=False
    )


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_back_up_check_lose_everything_restore(service: Settings, tmp_path: Path):
    folder = tmp_path / "backup"
    storage = everything(service.data_dir / "storage")
    made = atelier(service, "backup", folder, "--json")
    # The picture's bytes are not what the row says, which is told, and what is there is kept.
    assert made.returncode == 1
    assert "1 file that the database refers to: damaged, or not what their rows say:" in made.stderr
    document = json.loads(made.stdout)
    assert (document["files"], document["missing"], len(document["damaged"])) == (2, [], 1)
    checked = atelier(service, "backup", "--check", folder)
    assert checked.returncode == 0
    assert "It is whole" in checked.stdout
    shutil.rmtree(service.data_dir)
    back = atelier(service, "restore", folder)
    assert back.returncode == 0
    assert "Put back: the database, and 1 file, " in back.stdout  # the identity is written first
    found = everything(service.data_dir / "storage")
    assert found == {key: data for key, data in storage.items() if "dd/" not in key}
    assert atelier(service, "prune", "--dry-run").returncode == 0


def test_a_damaged_backup_is_told_and_not_restored(service: Settings, tmp_path: Path):
    folder = tmp_path / "backup"
    atelier(service, "backup", folder)
    for path in (folder / "files").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    checked = atelier(service, "backup", "--check", folder, "--json")
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["is_whole"] is False
    before = everything(service.data_dir)
    refused = atelier(service, "restore", folder)
    assert refused.returncode == 2
    assert "is damaged: " in refused.stderr
    after = everything(service.data_dir)
    assert after.pop(".lock")
    assert after == before


def test_no_backup_is_none(service: Settings, tmp_path: Path):
    for words in (("backup", "--check", tmp_path / "none"), ("restore", service.data_dir)):
        refused = atelier(service, *words)
        assert refused.returncode == 2
        assert "no finished backup" in refused.stderr


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_postgresql_is_left_to_its_own_tools(service: Settings, tmp_path: Path, command: str):
    atelier(service, "backup", tmp_path / "backup")
    url = "postgresql+psycopg://atelier@db/atelier"
    refused = atelier(service, command, tmp_path / "backup", ATELIER_DATABASE_URL=url)
    assert refused.returncode == 2
    assert "pg_dump" in refused.stderr


def test_a_running_up_is_in_the_way_of_a_restore_and_not_of_a_backup(service: Settings, tmp_path: Path):
    with FolderLock(service.data_dir, holder="another 'atelier up'"):
        atelier(service, "backup", tmp_path / "backup")
        assert (tmp_path / "backup" / "manifest.json").exists()
        refused = atelier(service, "restore", tmp_path / "backup")
        assert refused.returncode == 1
        assert "is in use by another 'atelier up'" in refused.stderr
    with FolderLock(tmp_path / "backup", holder="another 'atelier backup'"):
        for words in (("backup",), ("backup", "--check"), ("restore",)):
            refused = atelier(service, *words, tmp_path / "backup")
            assert "is in use by another 'atelier backup'" in refused.stderr


def test_nothing_is_backed_up_where_there_is_no_database(tmp_path: Path):
    refused = atelier(Settings(data_dir=tmp_path / "none"), "backup", tmp_path / "backup")
    assert refused.returncode == 2
    assert "there is no database" in refused.stderr
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "backup").exists()


def test_before_an_upgrade_the_earlier_release_makes_the_backup(service: Settings, tmp_path: Path):
    """A database that was not migrated yet: what to do is said, and no folder is left."""
    database = Database(service.resolved_database_url)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    database.close()
    refused = atelier(service, "backup", tmp_path / "backup")
    assert refused.returncode == 2
    assert "a backup from before that is made with the earlier release" in refused.stderr
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("words", [("prune",), ("prune", "--dry-run"), ("backup", "{folder}")])
@pytest.mark.parametrize("crossed", ["database", "storage"])
def test_beside_the_data_of_another_service_every_command_refuses(
    service: Settings, tmp_path: Path, words: tuple[str, ...], crossed: str
):
    """The case that cost 105 pictures."""
    other = make_service(tmp_path / "other", "b")
    given = {
        "database": {"ATELIER_DATABASE_URL": other.resolved_database_url},
        "storage": {"ATELIER_STORAGE_URL": other.resolved_storage_url},
    }[crossed]
    before = everything(service.data_dir / "storage"), everything(other.data_dir / "storage")
    refused = atelier(service, *(word.format(folder=tmp_path / "backup") for word in words), **given)
    assert refused.returncode == 2
    assert "the database is of the installation" in refused.stderr
    assert (everything(service.data_dir / "storage"), everything(other.data_dir / "storage")) == before


def test_prune_beside_a_copy_of_the_same_service_is_its_own(service: Settings, tmp_path: Path):
    copy = Settings(data_dir=tmp_path / "copy")
    shutil.copytree(service.data_dir, copy.data_dir)
    assert "orphaned_asset" in atelier(copy, "prune").stdout
    assert asset_key("d" * 64) in everything(service.data_dir / "storage")


@pytest.mark.parametrize("words", [("prune", "--dry-run"), ("backup", "{folder}")])
def test_tables_of_another_release_are_told_in_words(
    service: Settings, tmp_path: Path, words: tuple[str, ...]
):
    with sqlite3.connect(service.data_dir / "atelier.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0005'")
    database.close()
    refused = atelier(service, *(word.format(folder=tmp_path / "backup") for word in words))
    assert refused.returncode == 2
    assert "revision '0005'" in refused.stderr


def test_a_data_folder_that_is_not_used_is_not_made(service: Settings, tmp_path: Path):
    """As in containers, where database and storage have places of their own."""
    atelier(service, "backup", tmp_path / "backup")
    places = {
        "ATELIER_DATABASE_URL": f"sqlite:///{tmp_path}/database/atelier.db",
        "ATELIER_STORAGE_URL": (tmp_path / "elsewhere").as_uri(),
    }
    unused = Settings(data_dir=tmp_path / "unused")
    assert atelier(unused, "restore", tmp_path / "backup", **places).returncode == 0
    assert (tmp_path / "database" / "atelier.db").exists()
    assert not unused.data_dir.exists()

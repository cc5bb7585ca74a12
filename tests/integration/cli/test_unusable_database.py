"""A database that cannot be used: every command ends with a sentence, and the code of wrong settings."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.clock import utc_now
from shared.settings import Settings
from shared.storage.local import LocalStore
from tests.support.ports import free_port
from web.db.database import Database
from web.identity import establish_identity

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service's data; nothing of it runs, and there is no Redis."""
    settings = Settings(data_dir=tmp_path / "data", redis_url="redis://127.0.0.1:1/0", port=free_port())
    database = Database(settings.resolved_database_url)
    database.upgrade()
    establish_identity(database, LocalStore(settings.data_dir / "storage"), now=utc_now(), may_make=True)
    database.close()
    return settings


def call(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **settings.to_environ()}
    command = [sys.executable, "-m", "web.cli.main", *words]
    return subprocess.run(
        command,
        cwd=settings.data_dir,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_it_younger(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.commit()
    other.close()


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "damaged": (damage, "is damaged"),
    "a folder": (put_a_folder, "is a folder"),
    "of a later release": (make_it_younger, "was written by a later release"),
}
COMMANDS = {
    "web": ["web"],
    "control": ["control"],
    "prune": ["prune", "--dry-run"],
    "backup": ["backup", "copies"],
    "up": ["up", "--workers", "0"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", WRONG)
def test_a_command_ends_with_a_sentence(settings: Settings, case: str, command: str):
    spoil, words = WRONG[case]
    path = settings.data_dir / "atelier.db"
    spoil(path)
    answer = call(settings, *COMMANDS[command])
    said = answer.stdout + answer.stderr
    assert answer.returncode == 2, said
    assert f"the database {path} {words}" in " ".join(said.split())
    assert "ATELIER_DATABASE_URL" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["web", "control", "prune"])
def test_a_storage_of_another_installation_is_as_final(settings: Settings, command: str):
    (settings.data_dir / "storage" / "installation.json").write_text('{"version": 1, "id": "another"}')
    answer = call(settings, *COMMANDS[command])
    assert answer.returncode == 2, answer.stderr
    assert "of the installation" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_an_address_that_is_none_is_a_wrong_setting(settings: Settings, command: str):
    answer = call(settings.model_copy(update={"database_url": "nonsense"}), *COMMANDS[command])
    assert answer.returncode == 2, answer.stderr
    assert "ATELIER_DATABASE_URL" in answer.stderr
    assert "Traceback" not in answer.stderr

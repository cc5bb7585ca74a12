"""`atelier prune` against a real database and store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.clock import utc_now
from shared.settings import Settings
from shared.storage.local import LocalStore
from tests.support.rows import add_picture
from web.db.database import Database
from web.identity import establish_identity

pytestmark = pytest.mark.process

ORPHAN = f"assets/aa/{'a' * 64}"


@pytest.fixture
def service(tmp_path: Path) -> Settings:
    """A service's data with one asset that is known, and one old file that is not."""
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(settings.resolved_database_url)
    database.upgrade()
    store = LocalStore(settings.data_dir / "storage")
    establish_identity(database, store, now=utc_now(), may_make=True)
    with database.write() as session:
        add_picture(session, now=utc_now(), sha256="b" * 64)
    database.close()
    for key in (ORPHAN, f"assets/bb/{'b' * 64}"):
        store.write(key, b"12345")
        os.utime(store.root / key, (0, 0))
    return settings


def prune(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "ATELIER_DATA_DIR": str(settings.data_dir)}
    command = [sys.executable, "-m", "web.cli.main", "prune", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_a_dry_run_says_what_a_run_then_removes(service: Settings):
    orphan = service.data_dir / "storage" / ORPHAN
    said = prune(service, "--dry-run", "--json", "--verbose")
    assert said.returncode == 0
    assert orphan.exists()
    document = json.loads(said.stdout)
    assert document["kinds"] == {"orphaned_asset": {"count": 1, "size_bytes": 5}}
    assert [(item["name"], item["reason"]) for item in document["items"]] == [(ORPHAN, "no asset has it")]
    done = json.loads(prune(service, "--json", "--verbose").stdout)
    assert done == document | {"dry_run": False}
    assert not orphan.exists()
    assert "nothing to remove" in prune(service).stdout


def test_it_is_told_in_words(service: Settings):
    text = prune(service, "--dry-run", "--verbose").stdout
    assert "Would be removed:" in text
    assert f"{ORPHAN}  (no asset has it)" in text


def test_a_database_that_is_not_there_is_refused_and_not_made(tmp_path: Path):
    settings = Settings(data_dir=tmp_path / "elsewhere")
    answer = prune(settings)
    assert answer.returncode == 2
    assert "there is no database" in answer.stderr
    assert not settings.data_dir.exists()

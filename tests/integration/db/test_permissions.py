"""A database that this user may not write: told at the start, and while it runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import DatabaseUnavailable, DatabaseUnusable
from web.db.database import Database

_NOBODY = 65_534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user for whom permissions count; as any but root one is already."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def path() -> Iterator[Path]:
    """A place that everybody reaches, unlike pytest's own folders; its owner is who is unprivileged."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)
    folder.chmod(0o755)
    with unprivileged():
        database = Database(f"sqlite:///{folder / 'atelier.db'}")
        database.upgrade()
        database.close()
    yield folder / "atelier.db"
    folder.chmod(0o755)
    shutil.rmtree(folder)


WAYS = {
    "a read-only file": (lambda path: path.chmod(0o444), "cannot be read and written"),
    "a file for others": (lambda path: path.chmod(0o000), "cannot be read and written"),
    "a read-only folder": (lambda path: path.parent.chmod(0o555), "lies in a folder"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_start_is_refused_with_what_is_missing(path: Path, way: str):
    forbid, words = WAYS[way]
    with unprivileged():
        forbid(path)
        database = Database(f"sqlite:///{path}")
        for start in (database.upgrade, database.require_current):
            with pytest.raises(DatabaseUnusable, match=words) as raised:
                start()
            assert "permissions 0" in raised.value.detail
        database.close()


@pytest.mark.parametrize("way", WAYS)
def test_it_is_told_while_it_runs(path: Path, way: str):
    with unprivileged():
        database = Database(f"sqlite:///{path}")
        database.check()
        WAYS[way][0](path)
        with pytest.raises(DatabaseUnavailable):
            database.check()
        database.close()


def test_a_folder_that_may_not_be_made_is_told(path: Path):
    with unprivileged():
        path.parent.chmod(0o555)
        with pytest.raises(DatabaseUnusable, match="cannot be made"):
            Database(f"sqlite:///{path.parent / 'below' / 'atelier.db'}")

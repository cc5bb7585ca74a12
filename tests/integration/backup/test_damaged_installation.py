"""Backups of an installation that is damaged itself, and restores into one: what is bad is judged alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from web.backup.manifest import BackupFolder

ROWS = [
    *((column, value) for column in ("outputs", "origin") for value in ("{", "7", "[1]", '"x"', '[{"key": 1}]')),
    *((column, "x") for column in ("attempt", "version", "lost_workers", "max_attempts", "created_at", "options")),
    ("status", "promoted"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), ROWS)
def test_a_row_that_cannot_be_read_keeps_no_other_from_being_backed_up_and_put_back(
    house, folder: Path, column: str, value: str
):
    bad, good, waits = (house.submit(seed=seed) for seed in range(3))
    house.work(good)
    picture = house.output(good)
    with house.control.backend.database.write() as session:
        session.execute(
            text(f"UPDATE jobs SET {column} = :value WHERE id = :id"), {"value": value, "id": bad.id}
        )
    house.back_up(folder)
    BackupFolder(folder).require_whole()
    house.restore(folder)
    assert house.output(good) == picture
    assert house.row(waits).status == "queued"

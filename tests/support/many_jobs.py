"""Rows of jobs in any number and state, as they would lie in the database after a long time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from shared.options import StyleOptions
from shared.protocol import new_id
from shared.status import DEFAULT_PRIORITY, FINAL_STATUSES, JobStatus
from web.db.database import Database
from web.db.models import Asset, Job, JobLabel

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_OPTIONS = StyleOptions().shown()


def job_row(asset: Asset, number: int = 0, **given: Any) -> dict[str, Any]:
    """Return the row of a job; of those with a higher number the later one."""
    created_at = BEGINNING + timedelta(seconds=number)
    status = given.get("status", JobStatus.SUCCEEDED)
    has_begun = status is not JobStatus.QUEUED
    return {
        "id": new_id(),
        "caller": "local",
        "name": "",
        "version": 1,
        "attempt": 1,
        "max_attempts": 3,
        "priority": DEFAULT_PRIORITY,
        "content_asset_id": asset.id,
        "style_asset_id": asset.id,
        "options": _OPTIONS,
        "created_at": created_at,
        "queued_at": created_at,
        "started_at": created_at if has_begun else None,
        "completed_at": created_at + timedelta(seconds=40) if status in FINAL_STATUSES else None,
        "step": 0,
        "outputs": [],
        "metrics": {"run_seconds": 40.0} if status is JobStatus.SUCCEEDED else {},
        **given,
        "status": status.value,
    }


def add_rows(
    session: Session, rows: Sequence[dict[str, Any]], labels: Sequence[dict[str, str]] = ()
) -> list[str]:
    """Add jobs, and labels by their columns; return the ids."""
    if rows:
        session.execute(insert(Job), list(rows))
    if labels:
        session.execute(insert(JobLabel), list(labels))
    return [str(row["id"]) for row in rows]


@contextmanager
def taken_back(database: Database) -> Iterator[Session]:
    """Open a session that writes, and of which nothing is left: for the many examples of one test."""
    with database.write() as session:
        yield session
        session.rollback()

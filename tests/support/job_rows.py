"""Rows that no database has seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.options import StyleOptions
from shared.status import JobStatus
from web.db.models import Asset, Job, JobLabel

NOW = datetime(2026, 11, 23, 8, 47, 41, 120_000, tzinfo=UTC)


def asset(name: str) -> Asset:
    return Asset(
        id=name, caller="local", sha256=name * 8, filename=f"{name}.png", content_type="image/png",
        size_bytes=10, width=64, height=48, created_at=NOW,
    )  # fmt: skip


def job(status: JobStatus = JobStatus.RUNNING, **changes: object) -> Job:
    values = {
        "id": "j1", "caller": "local", "name": "", "status": status.value, "status_reason": None,
        "version": 3, "attempt": 2, "max_attempts": 3, "priority": 0, "batch_id": None,
        "kind": "job", "route": "any",
        "content": asset("c"), "style": asset("s"), "options": StyleOptions(steps=50).model_dump(),
        "weights": None, "engine_version": None, "created_at": NOW, "queued_at": NOW,
        "dispatched_at": None, "started_at": NOW + timedelta(seconds=2), "completed_at": None,
        "worker_id": "gpu-a", "device": "cuda:0", "resumed_from_step": 10, "step": 10,
        "losses": {"total": 3.0, "content": 1.0, "style": 2.0}, "outputs": [], "error": None,
        "metrics": {}, "labels": [JobLabel(key="a", value="b")], **changes,
    }  # fmt: skip
    return Job(**values)

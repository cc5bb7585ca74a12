"""The reports and markers of workers that exist on paper only."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from shared.protocol import EventType, Output, ResultMarker, WorkerEvent
from shared.storage.layout import checkpoint_key, checkpoint_picture_key

WORKERS = ("node-a", "node-b")
STEPS = 10
_WEIGHTS = {"name": "untrained", "sha256": "0" * 64, "notice": None}
_LOSSES = {"total": 1.0, "content": 0.5, "style": 0.5}

#: The bytes of every result.
OUTPUT = b"1"


def report(
    job_id: str, kind: str, *, attempt: int, now: datetime, step: int = STEPS, worker: str = "node-a"
) -> WorkerEvent:
    """Return a report; the same thing reported again has the same id."""
    mark = {"checkpointed": f":{step}", "claimed": f":{worker}:{now}", "released": f":{worker}:{now}"}
    data: dict[str, Any] = {"step": step}
    if kind == "claimed":
        data = {"worker_id": worker, "device": "cpu", "weights": _WEIGHTS, "engine_version": "1"}
        data["resumed_from_step"] = None
    elif kind == "checkpointed":
        data |= {"steps": STEPS, "sha256": "0" * 64, "losses": _LOSSES}
        data["key"] = checkpoint_key(job_id, attempt, step)
        data["picture_key"] = checkpoint_picture_key(job_id, attempt, step, "0" * 64)
    elif kind == "failed":
        data = {"error": {"code": "engine_failed"}}
    elif kind == "succeeded":
        data = marker(job_id, attempt, step=step, now=now).model_dump(mode="json")
    return WorkerEvent(
        event_id=f"{job_id}:{attempt}:{kind}{mark.get(kind, '')}", type=EventType(kind), job_id=job_id,
        attempt=attempt, at=now, data=data,
    )  # fmt: skip


def output(job_id: str, attempt: int) -> Output:
    """Return what an attempt hands out."""
    return Output(
        name="result.png", key=f"jobs/{job_id}/attempt-{attempt}/result.png", content_type="image/png",
        size_bytes=len(OUTPUT), sha256=hashlib.sha256(OUTPUT).hexdigest(), width=8, height=8,
    )  # fmt: skip


def marker(job_id: str, attempt: int, *, step: int, now: datetime) -> ResultMarker:
    """Return what an attempt leaves behind when it commits."""
    return ResultMarker(
        job_id=job_id, attempt=attempt, completed_at=now, step=step, losses=_LOSSES,
        outputs=[output(job_id, attempt)], weights=_WEIGHTS, engine_version="1", run_seconds=1.0,
    )  # fmt: skip

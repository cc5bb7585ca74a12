"""Reuse: the same work is done once; whoever asks for it again is given the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.options import StyleOptions
from shared.status import JobStatus
from shared.storage.layout import result_picture_key
from shared.storage.store import ArtifactStore
from web.models import Job

_UNDER_WAY = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)


def work_sha256(
    *, content_sha256: str, style_sha256: str, options: StyleOptions, origin_sha256: str | None = None
) -> str:
    """Return the SHA-256 of what decides a result: inputs, options, and the checkpoint it begins with."""
    parts = {
        "content": content_sha256,
        "style": style_sha256,
        "options": options.model_dump(exclude={"checkpoint_every"}),
        "origin": origin_sha256,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find_finished(session: Session, work: str, *, caller: str) -> Job | None:
    """Return a caller's succeeded job with this work, if it was done as it would be done now.

    Weights and engine version are compared with those of the job that was started last: the web side sees
    no others.
    """
    latest = session.scalar(
        select(Job).where(Job.started_at.is_not(None)).order_by(Job.started_at.desc()).limit(1)
    )
    query = select(Job).where(
        Job.work_sha256 == work, Job.caller == caller, Job.status == JobStatus.SUCCEEDED.value
    )
    for job in session.scalars(query.order_by(Job.id.desc())):
        if latest is not None and _done_with(job) == _done_with(latest):
            return job
    return None


def find_under_way(session: Session, work: str, *, caller: str) -> Job | None:
    """Return a caller's queued or running job with this work that waits for no other, the oldest first."""
    query = select(Job).where(
        Job.work_sha256 == work,
        Job.caller == caller,
        Job.leader_id.is_(None),
        Job.status.in_(_UNDER_WAY),
    )
    return session.scalar(query.order_by(Job.id).limit(1))


def copy_outputs(store: ArtifactStore, leader: Job, job_id: str, attempt: int) -> list[dict[str, Any]]:
    """Copy the leader's outputs into another job's folder, so that each can be deleted alone.

    Raises:
        ArtifactMissing: when one is no longer there.
        StorageUnavailable: when it cannot be written.
    """
    copies = []
    for output in leader.outputs:
        key = result_picture_key(job_id, attempt, output["sha256"])
        store.write(key, store.read(output["key"]))
        copies.append({**output, "key": key})
    return copies


def reused_values(leader: Job, outputs: list[dict[str, Any]], *, now: datetime) -> Mapping[str, Any]:
    """Return the columns of a job that is given a leader's result."""
    return {
        "outputs": outputs,
        "weights": leader.weights,
        "engine_version": leader.engine_version,
        "step": leader.step,
        "losses": leader.losses,
        "leader_id": leader.id,
        "completed_at": now,
    }


def _done_with(job: Job) -> tuple[object, object]:
    return (job.weights or {}).get("sha256"), job.engine_version

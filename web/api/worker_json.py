"""Workers and the queue as JSON: pure functions of what they say of themselves and of what is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from shared.coordination.workers import WorkerBeat, WorkerState
from web.api import API_PATH
from web.api.job_json import job_url
from web.api.worker_shapes import (
    QueueStateOut,
    WorkerJobOut,
    WorkerMemoryOut,
    WorkerOut,
    WorkersOut,
    WorkerUrlsOut,
)
from web.queue_outlook import QueueState, backlog_seconds, no_start_reason
from web.repository.queue import QueueCounts

_NO_NAMES: Mapping[str, str] = MappingProxyType({})


def worker_to_json(
    beat: WorkerBeat, *, now: datetime, names: Mapping[str, str] = _NO_NAMES
) -> dict[str, Any]:
    """Return a worker as the API shows it; `names` are those of jobs, by id."""
    return _worker(beat, names, now).model_dump(mode="json")


def workers_to_json(
    beats: Sequence[WorkerBeat] | None, *, now: datetime, names: Mapping[str, str] = _NO_NAMES
) -> dict[str, Any]:
    """Return the workers as the API shows them; None while Redis cannot be asked."""
    return WorkersOut(
        workers=None if beats is None else [_worker(beat, names, now) for beat in beats],
        message=message_of(beats),
    ).model_dump(mode="json")


def queue_to_json(
    counts: QueueCounts,
    beats: Sequence[WorkerBeat] | None,
    run_seconds: Sequence[float],
    *,
    now: datetime,
) -> dict[str, Any]:
    """Return the queue as the API shows it; `run_seconds` is how long the last jobs took."""
    eligible = None if beats is None else sum(beat.takes_jobs for beat in beats)
    age = None if counts.oldest is None else max(0.0, (now - counts.oldest).total_seconds())
    return QueueStateOut(
        depth=counts.depth,
        waiting_for_others=counts.followers,
        running=counts.running,
        paused=counts.paused,
        oldest_age_seconds=None if age is None else round(age, 1),
        backlog_seconds=backlog_seconds(counts.depth, QueueState(counts.running, eligible, run_seconds)),
        workers=eligible,
        message=message_of(beats),
    ).model_dump(mode="json")


def message_of(beats: Sequence[WorkerBeat] | None) -> str | None:
    """Return why no job can start, in one sentence; None when one can."""
    if beats is None:
        return "Redis does not answer; jobs are kept, and start when it is back"
    eligible = sum(beat.takes_jobs for beat in beats)
    return no_start_reason(eligible, draining=len(beats) - eligible)


def _worker(beat: WorkerBeat, names: Mapping[str, str], now: datetime) -> WorkerOut:
    job = None
    if beat.job is not None:
        job = WorkerJobOut(
            id=beat.job.job_id,
            name=names.get(beat.job.job_id),
            attempt=beat.job.attempt,
            step=beat.job.step,
            steps=beat.job.steps,
            since=beat.job.since,
            url=job_url(beat.job.job_id),
        )
    drain = f"{API_PATH}/workers/{quote(beat.worker_id, safe='')}/drain"
    return WorkerOut(
        id=beat.worker_id,
        host=beat.host,
        device=beat.device,
        memory=WorkerMemoryOut(total_bytes=beat.memory_total_bytes, used_bytes=beat.memory_used_bytes),
        weights=beat.weights,
        notice=beat.notice,
        state=beat.state,
        job=job,
        version=beat.version,
        started_at=beat.started_at,
        # Clocks of two machines may differ a little.
        heartbeat_age_seconds=round(max(0.0, (now - beat.at).total_seconds()), 1),
        urls=WorkerUrlsOut(drain=None if beat.state is WorkerState.DRAINING else drain),
    )

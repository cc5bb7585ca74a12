"""Reading jobs as they are shown: the row, its place in the queue, and its live progress."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from shared.coordination.progress import LiveProgress
from shared.errors import NotFound
from shared.status import JobStatus
from web.api.job_json import job_to_json
from web.job_watch import JobWatch
from web.models import Job
from web.queue_outlook import QueueState
from web.repository.jobs import get_job, get_version, recent_run_seconds
from web.repository.queue import count_with_workers, queue_positions
from web.services import Services

_LIVE = {JobStatus.RUNNING, JobStatus.CANCELING}


@dataclass(frozen=True)
class JobView:
    """A job as it is shown now."""

    job: Job
    data: dict[str, Any]
    live: LiveProgress | None

    @property
    def etag(self) -> str:
        """The version, and a digest of all that is shown: live progress and the queue have no version."""
        text = json.dumps(self.data, sort_keys=True)
        return f"{self.job.version}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def read_view(services: Services, job_id: str, *, caller: str) -> JobView:
    """Return a job of a caller as it is shown now.

    Raises:
        NotFound: when there is none with this id.
    """
    return read_views(services, lambda session: [get_job(session, job_id, caller=caller)])[0]


def read_views(services: Services, query: Callable[[Session], list[Job]]) -> list[JobView]:
    """Return the jobs that a query finds as they are shown now; Redis is asked after the session."""
    with services.database.read() as session:
        jobs = query(session)
        queued = [job.id for job in jobs if job.job_status is JobStatus.QUEUED]
        positions = queue_positions(session, queued)
        running = count_with_workers(session) if queued else 0
        run_seconds = recent_run_seconds(session) if queued else []
    live = services.live.progress([job.id for job in jobs if job.job_status in _LIVE])
    queue = None
    if queued:
        queue = QueueState(running, services.live.eligible_workers(), run_seconds)
    return [
        JobView(
            job,
            job_to_json(
                job,
                live=live.get(job.id),
                position=positions.get(job.id),
                queue=queue,
                retention_days=services.settings.retention_days,
            ),
            live.get(job.id),
        )
        for job in jobs
    ]


def wait_until_changed(services: Services, view: JobView, *, caller: str, seconds: float) -> JobView:
    """Return the job as soon as it is shown differently, or as it is after `seconds`."""
    old, job_id, deadline = view.etag, view.job.id, time.monotonic() + seconds
    with JobWatch(services.board, job_id, stopping=services.stopping) as watch:
        while True:
            view = read_view(services, job_id, caller=caller)
            left = deadline - time.monotonic()
            if view.etag != old or left <= 0 or services.stopping.is_set():
                return view
            watch.wait(left)


def wait_until_final(services: Services, job_id: str, *, caller: str, seconds: float) -> JobView:
    """Return the job as soon as it has ended, or as it is after `seconds`."""
    deadline, version = time.monotonic() + seconds, None
    with JobWatch(services.board, job_id, stopping=services.stopping) as watch:
        while True:
            with services.database.read() as session:
                now_version = get_version(session, job_id)
            if now_version is None:
                raise NotFound(f"job '{job_id}' is gone")
            left = deadline - time.monotonic()
            if now_version != version or left <= 0 or services.stopping.is_set():
                version = now_version
                view = read_view(services, job_id, caller=caller)
                if view.job.job_status.is_final or left <= 0 or services.stopping.is_set():
                    return view
            watch.wait(left, only_changes=True)

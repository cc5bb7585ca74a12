"""Reading workers and the queue as they are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.clock import utc_now
from shared.coordination.workers import WorkerBeat
from web.api.worker_json import queue_to_json, worker_to_json, workers_to_json
from web.repository.jobs import recent_run_seconds
from web.repository.queue import count_queue, names_of_jobs
from web.services import Services
from web.worker_actions import drain_worker


def read_workers(services: Services, *, caller: str) -> dict[str, Any]:
    """Return the workers as they are now; a job's name only to its caller.

    Raises:
        DatabaseUnavailable: when it cannot be asked for the names.
    """
    beats = services.live.workers()
    return workers_to_json(beats, names=_names(services, beats or (), caller=caller), now=utc_now())


def read_queue(services: Services) -> dict[str, Any]:
    """Return the queue as it is now, of all callers.

    Raises:
        DatabaseUnavailable: when it cannot be counted.
    """
    with services.database.read() as session:
        counts, run_seconds = count_queue(session), recent_run_seconds(session)
    return queue_to_json(counts, services.live.workers(), run_seconds, now=utc_now())


def drain_and_read(services: Services, worker_id: str, *, caller: str) -> dict[str, Any]:
    """Ask a worker to drain, and return it.

    Raises:
        NotFound, RedisUnavailable: as `drain_worker` does.
        DatabaseUnavailable: when it cannot be asked for a name; the worker drains all the same.
    """
    beat = drain_worker(services, worker_id)
    return worker_to_json(beat, names=_names(services, [beat], caller=caller), now=utc_now())


def _names(services: Services, beats: Iterable[WorkerBeat], *, caller: str) -> dict[str, str]:
    job_ids = [beat.job.job_id for beat in beats if beat.job is not None]
    if not job_ids:
        return {}
    with services.database.read() as session:
        return names_of_jobs(session, job_ids, caller=caller)

"""What people ask of a worker."""

from __future__ import annotations

from shared.coordination.workers import WorkerBeat
from shared.errors import NotFound
from shared.logs import get_logger
from web.services import Services

_log = get_logger(__name__)


def drain_worker(services: Services, worker_id: str) -> WorkerBeat:
    """Ask a worker to hand its job back and end; return it as draining. May be repeated.

    Raises:
        NotFound: when no worker of this name is connected.
        RedisUnavailable: when it cannot be asked.
    """
    beat = services.registry.drain(worker_id)
    if beat is None:
        raise NotFound(f"there is no worker with the id '{worker_id}'; it may have ended already")
    _log.info("drain_asked", worker_id=worker_id)
    return beat

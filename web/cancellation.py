"""Cancelling a job: the row first, then the word to whoever works on it."""

from __future__ import annotations

from shared.clock import utc_now
from shared.coordination.flags import Flag
from shared.errors import RedisUnavailable, StaleJob
from shared.logs import get_logger
from shared.status import JobStatus
from web.repository.jobs import get_job
from web.repository.transitions import apply_trigger
from web.services import Services
from web.states import Trigger

_TRIES = 5
_log = get_logger(__name__)


def cancel_job(services: Services, job_id: str, *, caller: str) -> None:
    """Cancel a caller's job.

    Raises:
        NotFound: when there is none with this id.
        InvalidState: when it has ended otherwise.
        StaleJob: when others kept changing it.
    """
    for left in reversed(range(_TRIES)):
        try:
            was_canceled, attempt = _write(services, job_id, caller=caller)
            break
        except StaleJob:
            if not left:
                raise
    if not was_canceled:
        _tell(services, job_id, attempt)


def _write(services: Services, job_id: str, *, caller: str) -> tuple[bool, int]:
    """Write the change; return whether there was none to write, and the attempt it is about."""
    with services.database.write() as session:
        job = get_job(session, job_id, caller=caller)
        before = job.job_status
        apply_trigger(session, job, Trigger.CANCEL, now=utc_now())
        return before is JobStatus.CANCELED, job.attempt


def _tell(services: Services, job_id: str, attempt: int) -> None:
    """Tell the worker and those who watch; the control process raises a flag again that gets lost."""
    try:
        services.flags.raise_flag(job_id, attempt, Flag.CANCEL)
        services.board.notify(job_id)
    except RedisUnavailable as error:
        _log.warning("cancel_not_told", job_id=job_id, detail=error.detail)

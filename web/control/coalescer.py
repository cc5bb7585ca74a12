"""The coalescer: a job with the same work as one under way waits for it, and is given its result."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from shared.coordination.progress import ProgressBoard
from shared.errors import ArtifactMissing, NotFound, StaleJob
from shared.logs import get_logger
from shared.status import JobStatus
from shared.storage.store import ArtifactStore
from web.control.projection import public_output
from web.database import Database
from web.models import Job
from web.repository.jobs import followers, get_job
from web.repository.transitions import HistoryEntry, apply_trigger, write_changes
from web.reuse import copy_outputs, reused_values
from web.states import Trigger

_log = get_logger(__name__)


class Follow(StrEnum):
    """What a follower does."""

    WAIT = "wait"
    TAKE = "take"
    LEAVE = "leave"


def decide_follow(leader: JobStatus | None) -> Follow:
    """Decide for a follower whose leader has this status, or is gone."""
    if leader is JobStatus.SUCCEEDED:
        return Follow.TAKE
    return Follow.WAIT if leader in (JobStatus.QUEUED, JobStatus.RUNNING) else Follow.LEAVE


class Coalescer:
    """Looks after the followers."""

    def __init__(
        self, database: Database, store: ArtifactStore, board: ProgressBoard, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._store = store
        self._board = board
        self._clock = clock

    def follow(self) -> int:
        """Give results to followers, or let them go on alone; return how many stopped waiting."""
        with self._database.read() as session:
            waiting = [(job, _leader(session, job)) for job in followers(session)]
        return sum(self._follow_one(job, leader) for job, leader in waiting)

    def _follow_one(self, job: Job, leader: Job | None) -> bool:
        decision = decide_follow(leader.job_status if leader else None)
        if decision is Follow.WAIT:
            return False
        try:
            if decision is Follow.TAKE and leader is not None:
                self._take(job, leader)
            else:
                self._leave(job)
        except ArtifactMissing:
            self._leave(job)
        except StaleJob as error:
            _log.info("follow_stale", job_id=job.id, reason=error.detail)
            return False
        self._board.notify(job.id)
        return True

    def _take(self, job: Job, leader: Job) -> None:
        outputs = copy_outputs(self._store, leader, job.id, job.attempt)
        now = self._clock()
        with self._database.write() as session:
            current = session.merge(job, load=False)
            entries = [HistoryEntry("output", public_output(output)) for output in outputs]
            apply_trigger(
                session, current, Trigger.SUCCEEDED, now=now, reason="reused",
                values=dict(reused_values(leader, outputs, now=now)), entries=entries,
            )  # fmt: skip
        _log.info("result_reused", job_id=job.id, leader_id=leader.id)

    def _leave(self, job: Job) -> None:
        with self._database.write() as session:
            write_changes(session, session.merge(job, load=False), {"leader_id": None}, now=self._clock())
        _log.info("leader_left", job_id=job.id, leader_id=job.leader_id)


def _leader(session: Session, job: Job) -> Job | None:
    try:
        return get_job(session, job.leader_id or "")
    except NotFound:
        return None

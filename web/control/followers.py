"""Followers: jobs that wait for a leader with the same work, and get its result."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from shared.errors import ArtifactCorrupt, ArtifactMissing, NotFound, StaleJob, StorageUnavailable
from shared.logs import get_logger
from shared.status import JobStatus
from web.backend import Backend
from web.control.alone import FailingJobs
from web.db.models import Job
from web.jobs.fairness import changes_to_queue
from web.jobs.queries import followers_to_settle, get_job
from web.jobs.reuse import copy_outputs, find_under_way, give_result
from web.jobs.transitions import write_changes

_log = get_logger(__name__)


class Follow(StrEnum):
    """What a follower does: wait for its leader, take the leader's result, or leave the leader."""

    WAIT = "wait"
    TAKE = "take"
    LEAVE = "leave"


def decide_follow(leader: JobStatus | None) -> Follow:
    """Decide what a follower does whose leader has this status; None: the leader is gone."""
    if leader is JobStatus.SUCCEEDED:
        return Follow.TAKE
    return Follow.WAIT if leader in (JobStatus.QUEUED, JobStatus.RUNNING) else Follow.LEAVE


class Followers:
    """Settles the followers whose leader has ended or changed."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._failing = FailingJobs(clock=clock)

    @property
    def skipped(self) -> int:
        """How many followers could not be settled since the start, each counted once a minute."""
        return self._failing.count

    def follow(self) -> int:
        """Give followers their results, or have them computed; return how many stopped waiting."""
        with self._backend.database.read() as session:
            waiting = [(job, _leader(session, job)) for job in followers_to_settle(session)]
        if waiting:
            self._backend.check_storage()
        return sum(
            bool(self._failing.attempt(job.id, partial(self._follow_one, job, leader)))
            for job, leader in waiting
        )

    def _follow_one(self, job: Job, leader: Job | None) -> bool:
        decision = decide_follow(leader.job_status if leader else None)
        if decision is Follow.WAIT:
            return False
        try:
            outputs = self._copy_outputs(job, leader) if decision is Follow.TAKE and leader else None
            if leader is not None and outputs is not None:
                self._give_result(job, leader, outputs)
            else:
                self._change_leader(job)
        except StaleJob as error:
            _log.info("follow_stale", job_id=job.id, reason=error.detail)
            return False
        self._backend.redis.progress.notify(job.id)
        return True

    def _copy_outputs(self, job: Job, leader: Job) -> list[dict[str, Any]] | None:
        """Return copies of the leader's outputs; None when they cannot be copied (the job is computed)."""
        try:
            return copy_outputs(self._backend.storage, leader, job.id, job.attempt)
        except (ArtifactMissing, ArtifactCorrupt, StorageUnavailable) as error:
            _log.warning("result_not_reused", job_id=job.id, leader_id=leader.id, detail=error.detail)
            return None

    def _give_result(self, job: Job, leader: Job, outputs: list[dict[str, Any]]) -> None:
        with self._backend.database.write() as session:
            current = session.merge(job, load=False)
            give_result(session, current, leader, outputs, now=self._clock())
        _log.info("result_reused", job_id=job.id, leader_id=leader.id)

    def _change_leader(self, job: Job) -> None:
        """Give a job another leader, or none; without one it leads the other followers."""
        with self._backend.database.write() as session:
            current = session.merge(job, load=False)
            other = find_under_way(session, job.work_sha256, caller=job.caller) if job.work_sha256 else None
            leader_id = other.id if other else None
            values = {"leader_id": leader_id}
            if leader_id is None:  # it has a place of its own from now on
                values |= changes_to_queue(session, current, values)
            write_changes(session, current, values, now=self._clock())
        _log.info("leader_left", job_id=job.id, leader_id=job.leader_id, next_leader_id=leader_id)


def _leader(session: Session, job: Job) -> Job | None:
    """Return the leader, if it still has the same work: a leader that was extended has not."""
    try:
        leader = get_job(session, job.leader_id or "")
    except NotFound:
        return None
    is_known = leader.status in {status.value for status in JobStatus}
    return leader if is_known and leader.work_sha256 == job.work_sha256 else None

"""Placement: whether a new job is computed, waits for one that does the same work, or is given its result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from shared.errors import ArtifactCorrupt, ArtifactMissing, StorageUnavailable
from shared.ids import new_id
from shared.logs import get_logger
from shared.storage.layout import job_folder
from shared.storage.store import ArtifactStore
from web.models import Job
from web.reuse import copy_outputs, find_finished, find_under_way, give_result
from web.services import Services

_FIRST_ATTEMPT = 1
_log = get_logger(__name__)


@dataclass(frozen=True)
class Placement:
    """What was found for a job that is about to be added under `job_id`.

    `outputs` are copies of those of the finished job `leader`, already in the new job's folder.
    """

    job_id: str
    work: str
    caller: str
    reuse: bool
    leader: Job | None = None
    outputs: tuple[dict[str, Any], ...] = ()
    #: A finished job whose files could not be copied.
    passed_over_id: str | None = None

    def columns(self, session: Session) -> dict[str, Any]:
        """Return the columns that the new job's row begins with."""
        columns: dict[str, Any] = {"id": self.job_id, "work_sha256": self.work}
        if self.reuse and self.leader is None:
            columns |= {"leader_id": self._leader_id(session)}
        return columns

    def settle(self, session: Session, job: Job, *, now: datetime) -> None:
        """Give the job that was just added its result, if there is one."""
        if self.leader is not None:
            give_result(session, job, self.leader, self.outputs, now=now)

    def _leader_id(self, session: Session) -> str | None:
        # One that finished since it was looked for is followed, too: control then gives its result.
        finished = find_finished(session, self.work, caller=self.caller)
        if finished is not None and finished.id != self.passed_over_id:
            return finished.id
        under_way = find_under_way(session, self.work, caller=self.caller)
        return under_way.id if under_way else None


@contextmanager
def place_job(services: Services, work: str, *, caller: str, reuse: bool) -> Iterator[Placement]:
    """Find out what a new job need not compute; its row is to be written inside the block.

    Files are copied before any transaction begins, and go again when the block ends with an error. A result
    that cannot be copied, for whatever reason, is computed.

    Raises:
        DatabaseUnavailable: when it cannot be asked.
    """
    placement = Placement(new_id(), work, caller, reuse)
    if reuse:
        placement = _with_result(services, placement)
    try:
        yield placement
    except BaseException:
        if placement.outputs:
            _remove(services.storage, placement.job_id)
        raise


def _with_result(services: Services, placement: Placement) -> Placement:
    with services.database.read() as session:
        leader = find_finished(session, placement.work, caller=placement.caller)
    if leader is None:
        return placement
    job_id, work, caller = placement.job_id, placement.work, placement.caller
    try:
        outputs = tuple(copy_outputs(services.storage, leader, job_id, _FIRST_ATTEMPT))
    except (ArtifactMissing, ArtifactCorrupt, StorageUnavailable) as error:
        _log.warning("result_not_reused", job_id=job_id, leader_id=leader.id, detail=error.detail)
        _remove(services.storage, job_id)
        return Placement(job_id, work, caller, reuse=True, passed_over_id=leader.id)
    return Placement(job_id, work, caller, reuse=True, leader=leader, outputs=outputs)


def _remove(store: ArtifactStore, job_id: str) -> None:
    """Remove what was copied; a failure leaves a folder without a job, which the pruner takes."""
    try:
        store.delete_tree(job_folder(job_id))
    except StorageUnavailable as error:
        _log.warning("copies_left_behind", job_id=job_id, detail=error.detail)

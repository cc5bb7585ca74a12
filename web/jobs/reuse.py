"""Reuse: the same work is computed once; a later job with the same work gets its result, or waits for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row, bindparam, select, text
from sqlalchemy.orm import Session

from shared.errors import ArtifactCorrupt, ArtifactMissing, StorageUnavailable
from shared.logs import get_logger
from shared.options import StyleOptions
from shared.protocol import Output, new_id
from shared.status import JobStatus
from shared.storage.layout import job_folder, result_picture_key
from shared.storage.store import ArtifactStore
from web.backend import Backend
from web.db.models import Job
from web.jobs.states import REUSED, Trigger
from web.jobs.transitions import HistoryEntry, apply_trigger, public_output

_ACTIVE = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)
_FIRST_ATTEMPT = 1
_log = get_logger(__name__)


def work_sha256(
    *, content_sha256: str, style_sha256: str, options: StyleOptions, origin_sha256: str | None = None
) -> str:
    """Return the SHA-256 of what decides a result: inputs, options, and the checkpoint it starts from."""
    parts = {
        "content": content_sha256,
        "style": style_sha256,
        "options": options.model_dump(include=set(options.told_names - {"checkpoint_every", "preset"})),
        "origin": origin_sha256,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find_finished(session: Session, work: str, *, caller: str) -> Job | None:
    """Return a caller's newest succeeded job with this work and the current weights and engine version.

    Current are those of the job of its route that was started last: the web side knows no others.
    """
    rows = session.execute(_FINISHED, {"work": work, "caller": caller}).all()
    current = _current_versions(session, rows)
    for row in rows:
        if row.weights and _versions(row) == current:
            return session.get(Job, row.id)
    return None


def find_under_way(session: Session, work: str, *, caller: str) -> Job | None:
    """Return a caller's oldest queued or running job with this work that is no follower itself.

    Jobs that were started with other weights or another engine version than the current ones are left out.
    """
    rows = session.execute(_UNDER_WAY, {"work": work, "caller": caller}).all()
    current = _current_versions(session, rows)
    started = next((row.id for row in rows if row.weights and _versions(row) == current), None)
    not_started = next((row.id for row in rows if not row.weights), None)
    found = started or not_started
    return session.get(Job, found) if found else None


def copy_outputs(store: ArtifactStore, leader: Job, job_id: str, attempt: int) -> list[dict[str, Any]]:
    """Copy the leader's outputs into another job's folder, so that either job can be deleted alone.

    Raises:
        ArtifactMissing: when an output no longer exists.
        ArtifactCorrupt: when an output does not have its SHA-256, or what is stored of it cannot be read.
        StorageUnavailable: when an output cannot be read or written.
    """
    try:
        outputs = [Output.model_validate(output) for output in leader.outputs]
    except (ValidationError, TypeError) as error:
        raise ArtifactCorrupt(f"what is stored of the result of job {leader.id} cannot be read") from error
    if not outputs:
        raise ArtifactMissing(f"job {leader.id} has no result")
    copies = []
    for told, output in zip(leader.outputs, outputs, strict=True):
        data = store.read(output.key)
        if hashlib.sha256(data).hexdigest() != output.sha256:
            raise ArtifactCorrupt(f"{output.key} does not have the SHA-256 {output.sha256}")
        key = result_picture_key(job_id, attempt, output.sha256)
        store.write(key, data)
        copies.append({**told, "key": key})
    return copies


def give_result(
    session: Session, job: Job, leader: Job, outputs: Sequence[dict[str, Any]], *, now: datetime
) -> None:
    """Let a queued job succeed with a leader's result; `outputs` are the job's own copies.

    Raises:
        StaleJob: when the job has changed since it was read.
    """
    values = {
        "outputs": list(outputs),
        "weights": leader.weights,
        "engine_version": leader.engine_version,
        "numerics": leader.numerics,
        "is_exact": leader.is_exact,
        "step": leader.step,
        "losses": leader.losses,
        "leader_id": leader.id,
        "completed_at": now,
    }
    entries = [HistoryEntry("output", public_output(output)) for output in outputs]
    apply_trigger(session, job, Trigger.SUCCEEDED, now=now, reason=REUSED, values=values, entries=entries)


# Of the columns those that are compared: there may be thousands of jobs with this work. Made once: each
# submission asks all of this.
_SAME_WORK = select(Job.id, Job.route, Job.weights, Job.engine_version).where(
    Job.work_sha256 == bindparam("work"), Job.caller == bindparam("caller")
)
# What was begun under other numerics than it goes on with is nobody's result but its own.
_ONE_NUMERICS = _SAME_WORK.where(Job.is_exact.is_distinct_from(False))
_FINISHED = _ONE_NUMERICS.where(Job.status == JobStatus.SUCCEEDED.value).order_by(Job.id.desc())
_UNDER_WAY = _ONE_NUMERICS.where(Job.leader_id.is_(None), Job.status.in_(_ACTIVE)).order_by(Job.id)


#: A text: as a rule there is none, and all is said.
_KNOWN = text("SELECT 1 FROM jobs WHERE work_sha256 = :work AND caller = :caller LIMIT 1")


def is_known(session: Session, work: str, *, caller: str) -> bool:
    """Whether a caller has any job with this work."""
    found = session.connection().execute(_KNOWN, {"work": work, "caller": caller})
    return found.first() is not None


def _current_versions(session: Session, rows: Sequence[Row[Any]]) -> tuple[object, object] | None:
    """Return weights and engine version of the job that was started last of the route that `rows` have.

    None before the first. The same work has the same route.
    """
    if not rows:
        return None
    columns = select(Job.weights, Job.engine_version).where(
        Job.route == rows[0].route, Job.started_at.is_not(None)
    )
    latest = session.execute(columns.order_by(Job.started_at.desc()).limit(1)).first()
    return _versions(latest) if latest else None


def _versions(row: Row[Any]) -> tuple[object, object]:
    weights = row.weights if isinstance(row.weights, Mapping) else {}
    return weights.get("sha256") or weights.get("name"), row.engine_version


@dataclass(frozen=True)
class ReuseDecision:
    """The decision about reuse for a job that is about to be added under `job_id`.

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
        """Return the first values of the new job's columns `id`, `work_sha256` and `leader_id`."""
        columns: dict[str, Any] = {"id": self.job_id, "work_sha256": self.work}
        if self.reuse and self.leader is None:
            columns |= {"leader_id": self._leader_id(session)}
        return columns

    def settle(self, session: Session, job: Job, *, now: datetime) -> None:
        """Give the job that was just added its result, if there is one."""
        if self.leader is not None:
            give_result(session, job, self.leader, self.outputs, now=now)

    def _leader_id(self, session: Session) -> str | None:
        if not is_known(session, self.work, caller=self.caller):
            return None
        # A job that finished since the first search is followed, too: control then gives its result.
        finished = find_finished(session, self.work, caller=self.caller)
        if finished is not None and finished.id != self.passed_over_id:
            return finished.id
        under_way = find_under_way(session, self.work, caller=self.caller)
        return under_way.id if under_way else None


@contextmanager
def decide_reuse(
    backend: Backend, work: str, *, caller: str, reuse: bool, is_new: bool = False
) -> Iterator[ReuseDecision]:
    """Decide whether a new job reuses a result; the caller writes its row inside the block.

    Files are copied before any transaction begins, and are removed when the block ends with an error. A
    result that cannot be copied, for whatever reason, is computed.

    Args:
        backend: Whose jobs may be reused.
        work: As `work_sha256` has it.
        caller: Whose jobs may be reused.
        reuse: Whether the caller wants that.
        is_new: That the caller had no job with this work a moment ago: it is not asked again.

    Raises:
        DatabaseUnavailable: when the database cannot be asked.
    """
    decision = ReuseDecision(new_id(), work, caller, reuse)
    if reuse and not is_new:
        decision = _find_result(backend, decision)
    try:
        yield decision
    except BaseException:
        if decision.outputs:
            _remove(backend.storage, decision.job_id)
        raise


def _find_result(backend: Backend, decision: ReuseDecision) -> ReuseDecision:
    with backend.database.read() as session:
        leader = find_finished(session, decision.work, caller=decision.caller)
    if leader is None:
        return decision
    job_id, work, caller = decision.job_id, decision.work, decision.caller
    try:
        outputs = tuple(copy_outputs(backend.storage, leader, job_id, _FIRST_ATTEMPT))
    except (ArtifactMissing, ArtifactCorrupt, StorageUnavailable) as error:
        _log.warning("result_not_reused", job_id=job_id, leader_id=leader.id, detail=error.detail)
        _remove(backend.storage, job_id)
        return ReuseDecision(job_id, work, caller, reuse=True, passed_over_id=leader.id)
    return ReuseDecision(job_id, work, caller, reuse=True, leader=leader, outputs=outputs)


def _remove(store: ArtifactStore, job_id: str) -> None:
    """Remove the copied files; a failure leaves a folder without a job, which the pruner removes."""
    try:
        store.delete_tree(job_folder(job_id))
    except StorageUnavailable as error:
        _log.warning("copies_left_behind", job_id=job_id, detail=error.detail)

"""The actions on a job: each writes the row first, then notifies its worker and its watchers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import BaseModel
from sqlalchemy import delete
from sqlalchemy.orm import Session

from shared.clock import utc_now
from shared.errors import (
    ArtifactMissing,
    InvalidOptions,
    InvalidState,
    NotReady,
    NotTerminal,
    RedisUnavailable,
    StaleJob,
    StorageUnavailable,
)
from shared.logs import get_logger
from shared.options import StyleOptions, change_options, steps_of
from shared.redis.live import Flag
from shared.status import JobKind, JobStatus
from shared.storage.layout import job_folder
from shared.texts import field_schemas
from web.access.limits import OPEN_STATUSES, require_priority, require_size
from web.backend import Backend
from web.db.models import Job, JobCheckpoint
from web.jobs.changing import write_change
from web.jobs.faults import without_faults
from web.jobs.fields import ChangeBody, ExtendBody, RetryBody
from web.jobs.forking import damage_of, fork_origin, verify_kept, verify_start
from web.jobs.idempotency import NoteKey, note_no_key
from web.jobs.line import note_queue_change
from web.jobs.queries import get_job
from web.jobs.retention import delete_final_job
from web.jobs.routing import queue_rank
from web.jobs.states import PAUSING, Trigger, allowed_requests, is_legal
from web.jobs.transitions import (
    apply_trigger,
    list_checkpoints,
    may_have_checkpoints,
    status_after,
    write_changes,
)
from web.protection import Protection, read_protection

_TRIES = 5
#: A queued job is included: a worker may be claiming it right now.
_MAY_BE_CLAIMED = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELING)
_log = get_logger(__name__)
#: A write of a job's row, such as `write_cancel`.
Write = Callable[[Session, Job], None]


def next_attempt(job: Job) -> dict[str, Any]:
    """Return the changes that make a job due again, as its next attempt."""
    return {
        "attempt": job.attempt + 1,
        "dispatched_at": None,
        "worker_id": None,
        "device": None,
        "resumed_from_step": None,
    }


def write_cancel(session: Session, job: Job, *, now: datetime) -> None:
    """Cancel a job, or ask its worker to; may be repeated.

    Raises:
        InvalidState: when the job has ended otherwise.
        StaleJob: when the job has changed since it was read. The same holds for all functions here.
    """
    is_repeated = job.job_status in (JobStatus.CANCELING, JobStatus.CANCELED)
    _write_request(session, job, Trigger.CANCEL, now=now, reason=None, is_repeated=is_repeated)


def write_pause(session: Session, job: Job, *, now: datetime) -> None:
    """Pause a queued job, or ask a running one's worker to checkpoint and release it; may be repeated."""
    reason = PAUSING if job.job_status is JobStatus.RUNNING else None
    is_repeated = job.job_status is JobStatus.PAUSED or job.status_reason == PAUSING
    _write_request(session, job, Trigger.PAUSE, now=now, reason=reason, is_repeated=is_repeated)


def write_resume(session: Session, job: Job, *, now: datetime) -> None:
    """Queue a paused job again; it goes on from its last checkpoint, on any worker."""
    apply_trigger(session, job, Trigger.RESUME, now=now, values=_requeued(job, now))


def write_retry(
    session: Session, job: Job, *, now: datetime, from_zero: bool = False, is_result_lost: bool = False
) -> None:
    """Queue a job again that did not succeed; from its last checkpoint, or with `from_zero` from its start.

    A fork starts from the checkpoint of its parent, any other job from the content picture. With
    `is_result_lost` also one that succeeded: it goes on by no step, and makes its result once more.
    """
    values = _requeued(job, now) | {"error": None, "completed_at": None}
    if from_zero:
        session.execute(delete(JobCheckpoint).where(JobCheckpoint.job_id == job.id))
        origin = fork_origin(job)
        values |= {
            "checkpoints_since": job.attempt + 1,
            "origin": origin,
            "step": origin["step"] if origin else 0,
            "numerics": origin.get("numerics") if origin else None,
            "losses": None,
        }
    is_again = is_result_lost and job.job_status is JobStatus.SUCCEEDED
    apply_trigger(session, job, Trigger.EXTEND if is_again else Trigger.RETRY, now=now, values=values)


def write_extend(session: Session, job: Job, *, steps: int, now: datetime) -> None:
    """Queue a succeeded job for `steps` more steps from its last one; it keeps its result meanwhile.

    Raises:
        NotReady: when the checkpoint of its last step is no longer kept.
        InvalidOptions: when that would be more steps than a job may have.
    """
    status_after(job, Trigger.EXTEND)
    total = steps_of(job.options) + steps
    try:
        options = change_options(job.options, {"steps": total})
    except InvalidOptions as error:
        raise _too_many(error, steps, total) from None
    last = last_checkpoint(session, job)
    origin = {"job_id": job.id, "step": job.step, "key": last.key, "sha256": last.sha256}
    values = _requeued(job, now) | {
        "options": options.shown(),
        "origin": origin | {"fork": fork_origin(job)},
        "checkpoints_since": job.attempt + 1,
        "completed_at": None,
        "work_sha256": None,
    }
    apply_trigger(session, job, Trigger.EXTEND, now=now, values=values)


def _too_many(error: InvalidOptions, steps: int, total: int) -> InvalidOptions:
    """Return the refusal of so many steps more; what it names as allowed is of steps more, too."""
    most = field_schemas(StyleOptions)["steps"]["maximum"]
    left = most - (total - steps)
    if total <= most:
        return error
    allowed = (
        f"allowed is 1 to {left} more" if left > 0 else "none is left; fork an earlier checkpoint instead"
    )
    detail = f"{steps} more would be {total} steps, and a job has at most {most}; {allowed}"
    return InvalidOptions.at("/steps", detail, code="out_of_range")


def last_checkpoint(session: Session, job: Job) -> JobCheckpoint:
    """Return the checkpoint of a job's last step.

    Raises:
        NotReady: when it is not kept.
    """
    kept = [checkpoint for checkpoint in list_checkpoints(session, job.id) if checkpoint.has_state]
    last = [checkpoint for checkpoint in kept if checkpoint.step == job.step]
    if not last:
        raise NotReady(
            f"the checkpoint of step {job.step} is not kept"
            + ("; fork an earlier one instead" if kept else ", nor is any other")
        )
    return last[0]


def is_output_damaged(backend: Backend, job: Job) -> bool:
    """Whether the result of a job is gone, or is not what was written.

    Raises:
        StorageUnavailable: when the storage cannot be asked.
    """
    return any(
        damage_of(backend, output["key"], sha256=output["sha256"], size_bytes=output["size_bytes"])
        for output in job.outputs
    )


def write_delete(session: Session, job: Job) -> None:
    """Remove a job that has ended, with its history; the caller then removes its files.

    Raises:
        NotTerminal: when it has not ended.
    """
    if not job.job_status.is_final:
        allowed = allowed_requests(job.job_status, has_checkpoints=may_have_checkpoints(job))
        raise NotTerminal(
            f"the job is {job.status}; it can be deleted only when it has ended; "
            f"allowed now: {', '.join(allowed) or 'nothing'}"
        )
    if not delete_final_job(session, job.id, version=job.version):
        raise StaleJob("the job changed at this very moment; look at it and try again")


def _write_request(
    session: Session, job: Job, trigger: Trigger, *, now: datetime, reason: str | None, is_repeated: bool
) -> None:
    """Write a request; a repeated one changes nothing, not even the status reason."""
    values = {"leader_id": None}
    if is_repeated and status_after(job, trigger) is job.job_status:
        write_changes(session, job, values, now=now)
    else:
        apply_trigger(session, job, trigger, now=now, reason=reason, values=values)


def _requeued(job: Job, now: datetime) -> dict[str, Any]:
    # A queue deadline is for the first wait only.
    return next_attempt(job) | {
        "queued_at": now,
        "queue_rank": queue_rank(job.priority),
        "lost_workers": 0,
        "metrics": without_faults(job.metrics),
        "queue_deadline": None,
        "leader_id": None,
    }


@dataclass(frozen=True)
class Action:
    """What a caller may ask of a job by a name; `act` takes the body after the job's id, if there is one."""

    act: Callable[..., None]
    body: type[BaseModel] | None = None

    def run(self, backend: Backend, job_id: str, body: object, *, caller: str, now: datetime) -> None:
        """Carry it out; `body` is an instance of the model, or nothing."""
        self.act(backend, job_id, *([] if self.body is None else [body]), caller=caller, now=now)


def cancel_job(
    backend: Backend, job_id: str, *, caller: str, now: datetime, version: int | None = None
) -> None:
    """Cancel a caller's job; with a `version` only as long as that is its version.

    Raises:
        NotFound: when there is none with this id.
        InvalidState: when its status does not allow it.
        StaleJob: when it has another version, or others kept changing it.

    The same holds for all functions here.
    """
    write = partial(write_cancel, now=now)
    _change_job(backend, job_id, write, caller=caller, flag=Flag.CANCEL, version=version)


def pause_job(
    backend: Backend, job_id: str, *, caller: str, now: datetime, version: int | None = None
) -> None:
    """Pause a caller's job; a running one is paused when its worker has saved a checkpoint."""
    write = partial(write_pause, now=now)
    _change_job(backend, job_id, write, caller=caller, flag=Flag.PAUSE, version=version)


def resume_job(
    backend: Backend, job_id: str, *, caller: str, now: datetime, version: int | None = None
) -> None:
    """Queue a caller's paused job again.

    Raises:
        NotReady: when it has nothing to go on from.
        TooManyJobs: when the caller has too many that are queued or running.
        StorageUnavailable: when the storage cannot be asked for that.
    """
    with backend.database.read() as session:
        job = get_job(session, job_id, caller=caller)
    if is_legal(job.job_status, Trigger.RESUME):
        verify_start(backend, job)
    _change_job(backend, job_id, partial(write_resume, now=now), caller=caller, version=version)


def retry_job(
    backend: Backend,
    job_id: str,
    body: RetryBody,
    *,
    caller: str,
    now: datetime,
    version: int | None = None,
) -> None:
    """Queue a caller's job again that did not succeed, or whose result is no longer what it was.

    Raises:
        NotReady: when it has nothing to go on from.
        TooManyJobs: when the caller has too many that are queued or running.
        StorageFull: when the disks have too little room left for what it would write.
        StorageUnavailable: when the storage cannot be asked for that.
    """
    with backend.database.read() as session:
        job = get_job(session, job_id, caller=caller)
    from_zero = body.start == "zero"
    is_result_lost = job.job_status is JobStatus.SUCCEEDED and is_output_damaged(backend, job)
    if is_result_lost or is_legal(job.job_status, Trigger.RETRY):
        verify_start(backend, job, from_zero=from_zero)
    write = _with_room(
        backend, partial(write_retry, now=now, from_zero=from_zero, is_result_lost=is_result_lost)
    )
    _change_job(backend, job_id, write, caller=caller, version=version)


def extend_job(
    backend: Backend,
    job_id: str,
    body: ExtendBody,
    *,
    caller: str,
    now: datetime,
    note_key: NoteKey = note_no_key,
    version: int | None = None,
) -> None:
    """Queue a caller's succeeded job for more steps.

    Raises:
        InvalidState: when it has not succeeded, or can have no checkpoint of its own.
        NotReady: when its last checkpoint is not kept, or damaged.
        InvalidOptions: when a job may not have so many steps.
        SizeNotAllowed: when it is larger than any job may be by now.
        TooManyJobs: when the caller has too many that are queued or running.
        StorageFull: when the disks have too little room left.
        StorageUnavailable: when the storage cannot be asked for the checkpoint.
    """
    with backend.database.read() as session:
        job = get_job(session, job_id, caller=caller)
    if job.job_status is JobStatus.SUCCEEDED and not may_have_checkpoints(job):
        raise InvalidState(
            "the job has no checkpoint to go on from: it was made in one pass, or was given the result of "
            "another job; submit it with more steps, or fork that one"
        )
    # The row may exist without its file, or with another: then the worker could only fail.
    kept = verify_kept(backend, job, job.step) if job.job_status is JobStatus.SUCCEEDED else None

    def write(session: Session, job: Job) -> None:
        write_extend(session, job, steps=body.steps, now=now)
        require_size(int(job.options["size"]), backend.settings.max_size_px)
        last = last_checkpoint(session, job)
        if kept is None or (last.key, last.sha256) != (kept.key, kept.sha256):
            raise NotReady("the job went on while its checkpoint was read; ask for it again")
        note_key(session, job.id)

    _change_job(backend, job_id, _with_room(backend, write), caller=caller, version=version)


def _with_room(backend: Backend, write: Write) -> Write:
    """Return a write that is refused, and undone, where there is no room for what follows it.

    What is wrong with the request itself is told first. The room is measured here, before the transaction: a
    storage that hangs must not hold the database.
    """
    refusal = backend.find_no_room()

    def do(session: Session, job: Job) -> None:
        write(session, job)
        if refusal is not None:
            raise refusal

    return do


def delete_job(backend: Backend, job_id: str, *, caller: str, version: int | None = None) -> None:
    """Remove a caller's job that has ended, and all of its files.

    The row is removed first: a crash or a failing storage leaves a folder without a job, for the pruner. So
    does a backup that is being made: its copy of the database may still refer to the files.

    Raises:
        NotTerminal: when it has not ended.
    """
    protections: list[Protection] = []

    def write(session: Session, job: Job) -> None:
        write_delete(session, job)
        protections.append(read_protection(session, now=utc_now()))

    _change_job(backend, job_id, write, caller=caller, version=version)
    if protections[-1].is_held:
        _log.info("files_held", job_id=job_id, detail="a backup is being made; the collector removes them")
        return
    try:
        backend.storage.delete_tree(job_folder(job_id))
    except (StorageUnavailable, ArtifactMissing) as error:
        _log.warning("files_left", job_id=job_id, detail=error.detail)
    _log.info("job_deleted", job_id=job_id)


def change_job(
    backend: Backend,
    job_id: str,
    body: ChangeBody,
    *,
    caller: str,
    now: datetime,
    version: int | None = None,
) -> None:
    """Change a caller's job that has not begun.

    Raises:
        PriorityNotAllowed: when it asks for a higher one than any job may have.
    """
    if body.priority is not None:
        require_priority(body.priority, backend.settings.max_priority)
    write = partial(write_change, body=body, now=now)
    _change_job(backend, job_id, write, caller=caller, version=version)


def keep_job(
    backend: Backend, job_id: str, *, caller: str, now: datetime, version: int | None = None
) -> None:
    """Make an ordinary job of a caller's draft, with its picture; a job stays as it is."""

    def write(session: Session, job: Job) -> None:
        if job.kind != JobKind.JOB.value:
            write_changes(session, job, {"kind": JobKind.JOB.value, "queue_deadline": None}, now=now)

    _change_job(backend, job_id, write, caller=caller, version=version)


#: By the name that API, pages and command line call it; deleting and forking are asked for otherwise.
ACTIONS: Mapping[str, Action] = {
    "cancel": Action(cancel_job),
    "pause": Action(pause_job),
    "resume": Action(resume_job),
    "retry": Action(retry_job, RetryBody),
    "extend": Action(extend_job, ExtendBody),
    "keep": Action(keep_job),
    "change": Action(change_job, ChangeBody),
}


def decide_flag(before: JobStatus, flag: Flag | None) -> Flag | None:
    """Decide which flag to raise for the worker after a request to a job that was at this status."""
    return flag if before in _MAY_BE_CLAIMED else None


def _change_job(
    backend: Backend,
    job_id: str,
    write: Write,
    *,
    caller: str,
    flag: Flag | None = None,
    version: int | None = None,
) -> None:
    """Write a change, retrying when others change the job first; then notify worker and watchers.

    Raises:
        TooManyJobs: when it would be queued again, and the caller has too many that are queued or running.
    """
    limits = backend.limits_of(caller)
    for left in reversed(range(_TRIES)):
        try:
            with backend.database.write() as session:
                job = get_job(session, job_id, caller=caller)
                if version is not None and job.version != version:
                    raise StaleJob(f"job {job.id} is no longer at version {version}")
                before, attempt = job.job_status, job.attempt
                write(session, job)
                if job.job_status in OPEN_STATUSES and before not in OPEN_STATUSES:
                    limits.require_job_place(session, besides=job.id)
            break
        except StaleJob:
            if not left:
                raise
    note_queue_change(backend)
    _notify(backend, job_id, attempt, decide_flag(before, flag))


def _notify(backend: Backend, job_id: str, attempt: int, flag: Flag | None) -> None:
    """Notify the worker and the watchers; the control process raises a lost flag again."""
    try:
        if flag is not None:
            backend.redis.flags.raise_flag(job_id, attempt, flag)
        backend.redis.progress.notify(job_id)
    except RedisUnavailable as error:
        _log.warning("request_not_told", job_id=job_id, flag=flag, detail=error.detail)

"""Forks: a new job starts from a copy of another job's checkpoint, and no longer needs its parent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from shared.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    Fault,
    InvalidOptions,
    MissingPart,
    NotReady,
    StorageUnavailable,
)
from shared.logs import get_logger
from shared.options import PRESETS, Method, StyleOptions, change_options, parse_options
from shared.picture import taken_size
from shared.protocol import new_id
from shared.storage.layout import job_folder, origin_key
from shared.storage.verify import check_file, file_fault
from shared.texts import field_schemas
from shared.trace import go_on
from web.access.limits import CallerLimits, require_size
from web.assets.uploads import PartChecks
from web.backend import Backend
from web.db.models import Job, JobCheckpoint
from web.jobs.changing import labels_of
from web.jobs.estimates import Work
from web.jobs.fields import ForkBody
from web.jobs.idempotency import NoteKey, note_no_key
from web.jobs.queries import add_job, get_job
from web.jobs.routing import decide_no_model
from web.jobs.told_waits import look_ahead
from web.jobs.transitions import list_checkpoints

_MAX_NAMED = 12
_KEPT_OPTIONS = {"method", "init", "size", "steps", "checkpoint_every"}
_log = get_logger(__name__)


def find_kept(backend: Backend, job: Job, step: int) -> JobCheckpoint:
    """Return the checkpoint of a step of a job.

    Raises:
        NotReady: when there is none, or it has no state (any more); naming the steps of the others.
        StorageUnavailable: when the storage cannot be asked.
    """
    with backend.database.read() as session:
        listed = {checkpoint.step: checkpoint for checkpoint in list_checkpoints(session, job.id)}
    found = listed.pop(step, None)
    if found is None:
        others = _name_usable(backend, listed)
        raise NotReady(f"the job is {job.status} and has no checkpoint of step {step}; {others}")
    if not found.has_state:
        raise NotReady(
            f"of the checkpoint of step {step} only the picture is kept; {_name_usable(backend, listed)}"
        )
    if not _is_there(backend, found):
        backend.check_storage()
        raise NotReady(f"the file of the checkpoint of step {step} is gone; {_name_usable(backend, listed)}")
    return found


def _is_there(backend: Backend, checkpoint: JobCheckpoint) -> bool:
    if not checkpoint.has_state:
        return False
    try:
        backend.storage.stat(checkpoint.key)
    except ArtifactMissing:
        return False
    return True


def _name_usable(backend: Backend, listed: Mapping[int, JobCheckpoint]) -> str:
    """Name the steps of those whose files are there: what is named is tried next."""
    return name_steps(step for step, checkpoint in listed.items() if _is_there(backend, checkpoint))


def damage_of(backend: Backend, key: str, *, sha256: str, size_bytes: int | None = None) -> str | None:
    """Return in words what is wrong with a file that a row tells of; None when it is what was written.

    Raises:
        IdentityMissing, IdentityWrong: when it is not the file, but the whole storage that is not ours.
        StorageUnavailable: when the storage cannot be asked.
    """
    fault = file_fault(backend.storage, key, sha256=sha256, size_bytes=size_bytes)
    if fault is not None:
        backend.check_storage()
    return fault


def verify_kept(backend: Backend, job: Job, step: int) -> JobCheckpoint:
    """Return the checkpoint of a step of a job once all bytes of its file were compared with its row.

    Raises:
        NotReady: when there is none, or its file is gone or damaged; naming the steps of the others.
        StorageUnavailable: when the storage cannot be asked.
    """
    found = find_kept(backend, job, step)
    if damage_of(backend, found.key, sha256=found.sha256) is None:
        return found
    with backend.database.read() as session:
        others = {one.step: one for one in list_checkpoints(session, job.id) if one.step != step}
    raise NotReady(f"the file of the checkpoint of step {step} is damaged; {_name_usable(backend, others)}")


def fork_origin(job: Job) -> dict[str, Any] | None:
    """Return the checkpoint of another job that this one started from, also after it was extended."""
    if job.origin is None or job.origin["job_id"] != job.id:
        return job.origin
    found: dict[str, Any] | None = job.origin.get("fork")
    return found


def verify_start(backend: Backend, job: Job, *, from_zero: bool = False) -> None:
    """Prove that a job has something to go on from, if it cannot begin with its pictures.

    A worker passes over a damaged checkpoint and takes the one before; but at the end of that line there is
    the checkpoint that a forked or extended job began with, and without it the job could only fail.

    Raises:
        NotReady: when all that it could go on from is gone or damaged.
        StorageUnavailable: when the storage cannot be asked.
    """
    origin = fork_origin(job) if from_zero else job.origin
    if origin is None:
        return
    fault = damage_of(backend, origin["key"], sha256=origin["sha256"])
    if fault is None or (not from_zero and _has_usable(backend, job)):
        return
    whose = "its own" if origin["job_id"] == job.id else "that of the job it was forked from,"
    hint = "; retry it from zero" if whose == "its own" else ""
    raise NotReady(
        f"the checkpoint it begins with, {whose} of step {origin['step']}, is damaged: {fault}{hint}"
    )


def _has_usable(backend: Backend, job: Job) -> bool:
    """Whether one of the checkpoints that the job made since it was last begun anew is whole."""
    with backend.database.read() as session:
        kept = list_checkpoints(session, job.id)
    return any(
        damage_of(backend, checkpoint.key, sha256=checkpoint.sha256) is None
        for checkpoint in reversed(kept)
        if checkpoint.attempt >= job.checkpoints_since and checkpoint.has_state
    )


def name_steps(steps: Iterable[int]) -> str:
    """Return the steps that have checkpoints, in words; of very many, the first and the last."""
    names = [str(step) for step in sorted(steps)]
    if not names:
        return "no other is kept"
    if len(names) > _MAX_NAMED:
        half = _MAX_NAMED // 2
        names = [*names[:half], "…", *names[-half:]]
    return f"kept are those of step {', '.join(names)}"


def fork_job(
    backend: Backend,
    job_id: str,
    body: ForkBody,
    *,
    caller: str,
    now: datetime,
    note_key: NoteKey = note_no_key,
    traceparent: str | None = None,
) -> str:
    """Add a job that starts from a checkpoint of a caller's job, as a part of a trace, and return its id.

    From the picture of a fast job begins one that optimises it: its `init` is `fast`, and it needs no file.

    The file of a checkpoint is copied before the row is written: a crash in between leaves a folder without a
    job, which the pruner removes.

    Raises:
        NotFound: when there is no job with this id.
        NotReady: when it keeps no such checkpoint.
        InvalidOptions: when the options do not fit each other or the checkpoint.
        PictureTooNarrow: when a fast job's picture is too narrow to be optimised at this size.
        FastModelUnavailable: when it needs the model of the fast method, as `submit` has it.
        WebhookRefused, WebhookSecretMissing: as `submit` has it.
        SizeNotAllowed, PriorityNotAllowed, TooManyJobs, TooManyBytes: as `submit` has them.
        StorageFull: when the disks have too little room left.
        StorageUnavailable: when the checkpoint cannot be copied.
    """
    with backend.database.read() as session:
        parent = get_job(session, job_id, caller=caller)
    body.require_webhook(backend, caller=caller, now=now)
    priority = body.priority_within(backend.settings.max_priority, usual=parent.priority)
    if parent.options.get("method") == Method.FAST:
        return _optimise_fast(
            backend,
            parent,
            body,
            caller=caller,
            priority=priority,
            now=now,
            note_key=note_key,
            traceparent=traceparent,
        )
    if body.step is None:
        raise MissingPart.at("/step", "a job with checkpoints is forked at one of them: name its step")
    options = fork_options(parent.options, body.options, step=body.step)
    require_size(options.size, backend.settings.max_size_px)
    _require_model(backend, options)
    with _refused_at_step():
        checkpoint = find_kept(backend, parent, body.step)
    backend.require_room()
    limits, fork_id = backend.limits_of(caller, adds_bytes=True), new_id()
    try:
        with _refused_at_step():
            _copy_checkpoint(backend, checkpoint, fork_id)
        extra = _columns(
            backend, parent, options, from_step=body.step, fork_id=fork_id, priority=priority, now=now
        )
        extra["traceparent"] = go_on(traceparent)
        _add_fork(backend, checkpoint, body, options, limits=limits, now=now, extra=extra, note_key=note_key)
    except Exception:
        with suppress(StorageUnavailable, ArtifactMissing):
            backend.storage.delete_tree(job_folder(fork_id))
        raise
    _log.info("job_forked", job_id=fork_id, parent_id=job_id, step=body.step)
    return fork_id


def _optimise_fast(
    backend: Backend,
    parent: Job,
    body: ForkBody,
    *,
    caller: str,
    priority: int,
    now: datetime,
    note_key: NoteKey,
    traceparent: str | None,
) -> str:
    """Add a job that optimises the picture of a fast one, and return its id."""
    if body.step is not None:
        raise NotReady.at("/step", "a fast job has no checkpoints; fork it without a step")
    if not isinstance(body.options, Mapping):
        parse_options(body.options)  # which refuses it
    own = {name: value for name, value in parent.options.items() if name not in ("method", "init")}
    options = parse_options({**own, "init": "fast", **body.options})
    if options.init != "fast":
        detail = (
            f"method is {options.method}, init {options.init}; a fork of a fast job goes on from its picture"
        )
        raise InvalidOptions.at("/options/init", detail, code="invalid_combination")
    require_size(options.size, backend.settings.max_size_px)
    _check_sizes(parent, options)
    _require_model(backend, options)
    backend.require_room()
    limits, fork_id = backend.limits_of(caller, adds_bytes=True), new_id()
    extra = _columns(backend, parent, options, from_step=0, fork_id=fork_id, priority=priority, now=now)
    extra["traceparent"] = go_on(traceparent)
    with backend.database.write() as session:
        parent = get_job(session, parent.id, caller=caller)
        fork = _add_like(session, backend, parent, body, options, limits=limits, now=now, extra=extra)
        note_key(session, fork.id)
    _log.info("job_forked", job_id=fork.id, parent_id=parent.id)
    return fork.id


def _columns(
    backend: Backend,
    parent: Job,
    options: StyleOptions,
    *,
    from_step: int,
    fork_id: str,
    priority: int,
    now: datetime,
) -> dict[str, Any]:
    """Return the columns of a fork that its place in the queue rests on, and what it is told of it."""
    content, style = ((asset.width, asset.height) for asset in (parent.content, parent.style))
    work = Work.of_job(options, max(0, options.steps - from_step), content=content, style=style)
    ahead = look_ahead(
        backend, options, work, caller=parent.caller, job_id=fork_id, priority=priority, now=now
    )
    seconds = ahead.estimated_seconds
    return {"id": fork_id, "priority": priority, "metrics": ahead.metrics, "estimated_seconds": seconds}


def _require_model(backend: Backend, options: StyleOptions) -> None:
    refusal = decide_no_model(options, backend.recent_workers())
    if refusal is not None:
        raise refusal


def _check_sizes(parent: Job, options: StyleOptions) -> None:
    """Refuse pictures that are right for the fast job, but too narrow to be optimised.

    Raises:
        PictureTooNarrow: naming them.
    """
    checks = PartChecks()
    for part, asset in (("content", parent.content), ("style", parent.style)):
        with checks.of(part):
            taken_size(asset.width, asset.height, part=part, options=options)
    checks.settle()


@contextmanager
def _refused_at_step() -> Iterator[None]:
    """Let a refusal inside the block point at the step that was asked for."""
    try:
        yield
    except NotReady as error:
        raise NotReady.at("/step", error.detail, code=error.code) from None


def fork_options(parent: Mapping[str, Any], changes: object, *, step: int) -> StyleOptions:
    """Return the options of a fork at a step: the parent's, with some changed.

    Another preset changes all options that it sets, except the size, the steps and the checkpoint interval.

    Raises:
        InvalidOptions: naming what is not an option, is out of range, or does not fit the checkpoint.
    """
    if not isinstance(changes, Mapping):
        return parse_options(changes)  # which refuses it
    options = change_options(parent, {**_preset_values(changes.get("preset")), **changes})
    faults = []
    for name in ("method", "init"):
        was = parent.get(name, StyleOptions.model_fields[name].default)
        if getattr(options, name) != was:
            detail = f"{name} is {getattr(options, name)}; a fork begins with a checkpoint, and keeps '{was}'"
            faults.append(Fault(f"/options/{name}", "out_of_range", detail))
    if options.size != parent["size"]:
        detail = (
            f"size is {options.size}; a fork keeps the {parent['size']} px that its checkpoint was made at"
        )
        faults.append(Fault("/options/size", "out_of_range", detail))
    if options.steps <= step:
        whose = "" if "steps" in changes else ", as in the job that is forked"
        most = field_schemas(StyleOptions)["steps"]["maximum"]
        wanted = f"it must be more than {step}, with which the fork begins"
        if step >= most:
            wanted = (
                f"a job has at most {most}, so none can begin with step {step}; fork an earlier checkpoint"
            )
        detail = f"steps is {options.steps}{whose}; {wanted}"
        faults.append(Fault("/options/steps", "out_of_range", detail))
    if faults:
        raise InvalidOptions("; ".join(fault.detail for fault in faults), faults=tuple(faults))
    return options


def _preset_values(preset: object) -> dict[str, Any]:
    if not isinstance(preset, str) or preset not in PRESETS:
        return {}
    values = parse_options({"preset": preset}).shown()
    return {name: value for name, value in values.items() if name not in _KEPT_OPTIONS}


def _copy_checkpoint(backend: Backend, checkpoint: JobCheckpoint, fork_id: str) -> None:
    key = origin_key(fork_id)
    try:
        backend.storage.copy(checkpoint.key, key)
        check_file(backend.storage, key, sha256=checkpoint.sha256)
    except ArtifactMissing:
        raise NotReady(f"the file of the checkpoint of step {checkpoint.step} is gone") from None
    except ArtifactCorrupt:
        raise NotReady(
            f"the file of the checkpoint of step {checkpoint.step} is damaged; fork another one"
        ) from None


def _add_fork(
    backend: Backend,
    checkpoint: JobCheckpoint,
    body: ForkBody,
    options: StyleOptions,
    *,
    limits: CallerLimits,
    now: datetime,
    extra: Mapping[str, Any],
    note_key: NoteKey,
) -> None:
    with backend.database.write() as session:
        # Read again: the parent, and its pictures with it, may have been removed.
        parent = get_job(session, checkpoint.job_id, caller=limits.caller)
        origin = {
            "job_id": parent.id,
            "step": checkpoint.step,
            "key": origin_key(extra["id"]),
            "sha256": checkpoint.sha256,
            "numerics": checkpoint.numerics,
        }
        columns = {**extra, "origin": origin}
        fork = _add_like(session, backend, parent, body, options, limits=limits, now=now, extra=columns)
        fork.step = checkpoint.step
        fork.numerics = checkpoint.numerics
        note_key(session, fork.id)


def _add_like(
    session: Session,
    backend: Backend,
    parent: Job,
    body: ForkBody,
    options: StyleOptions,
    *,
    limits: CallerLimits,
    now: datetime,
    extra: Mapping[str, Any],
) -> Job:
    """Add a job with the pictures of another one, and with its fields where the body gives none.

    `extra` has what `_columns` returns, its trace, and further columns.

    Raises:
        TooManyJobs, TooManyBytes: as `submit` has them.
    """
    limits.require_job_place(session)
    limits.require_bytes(session, is_job=True)
    given = body.model_fields_set
    deadlines = body.deadline_columns(now)
    if "run_timeout_seconds" not in given:
        deadlines["run_timeout_seconds"] = parent.run_timeout_seconds
    fork = add_job(
        session,
        caller=limits.caller,
        name=(body.name or "").strip() if "name" in given else parent.name,
        content=parent.content,
        style=parent.style,
        options=options,
        labels=body.labels if "labels" in given else labels_of(parent),
        max_attempts=backend.settings.max_attempts,
        now=now,
        priority=extra["priority"],
        extra={**extra, **deadlines},
    )
    body.add_webhook(session, fork, now=now)
    return fork

"""Submission: a request is checked, its pictures are stored, then one transaction writes the rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.broker import route_for
from shared.errors import Fault, NotFound
from shared.options import StyleOptions
from shared.picture import taken_size
from shared.status import JobKind
from web.access.limits import require_size
from web.assets.uploads import (
    PartChecks,
    Picture,
    UploadBatch,
    UploadedFile,
    Uploads,
    add_asset,
    get_assets,
)
from web.backend import Backend
from web.db.models import Asset, Job
from web.jobs import drafts
from web.jobs.changing import hurry_leader
from web.jobs.estimates import Work, estimate_run, reckon_seconds, wait_ahead
from web.jobs.fairness import FlowKey, next_start
from web.jobs.fields import SubmitFields
from web.jobs.idempotency import NoteKey, note_no_key
from web.jobs.line import read_queue_to_join
from web.jobs.memory import MemoryNeed, decide_memory
from web.jobs.places import place_to_join
from web.jobs.queries import add_job, read_row
from web.jobs.reuse import decide_reuse, is_known, work_sha256
from web.jobs.routing import decide_no_model
from web.jobs.told_waits import estimate_end, note_told

PARTS = ("content", "style")
#: The sizes in pixels at which a job takes its pictures in, (width, height), by part.
Sizes = dict[str, tuple[int, int]]
_ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True)
class KnownAsset:
    """An input that was uploaded before, by its id."""

    asset_id: str


@dataclass(frozen=True)
class NewPicture:
    """An input that comes with the request."""

    file: UploadedFile


Input = KnownAsset | NewPicture


@dataclass(frozen=True)
class JobRequest:
    """A request for a job: an input for each part, of either kind, the options and the fields."""

    inputs: Mapping[str, Input]
    options: StyleOptions
    fields: SubmitFields


@dataclass(frozen=True)
class Checked:
    """What a request would be carried out with: the size that each part is taken in at, and its memory."""

    sizes: Sizes
    memory: MemoryNeed


@dataclass(frozen=True)
class WrittenJob:
    """A queued job as it was just written, held by no session; see `read_row` for `row`."""

    job: Job
    row: tuple[Any, ...]
    position: int


@dataclass(frozen=True)
class Added:
    """A job that was taken in; `written` is None where its result, or another job, is to be shown with it."""

    job_id: str
    written: WrittenJob | None = None


def check(backend: Backend, uploads: Uploads, request: JobRequest, *, caller: str, now: datetime) -> Checked:
    """Return what a request would be carried out with; it stores nothing, and needs no room on the disks.

    Raises:
        NotFound, PictureRefused, InsufficientMemory, FastModelUnavailable, SizeNotAllowed,
        PriorityNotAllowed, WebhookRefused, WebhookSecretMissing: as `submit` does.
    """
    require_size(request.options.size, backend.settings.max_size_px)
    request.fields.priority_within(backend.settings.max_priority)
    request.fields.require_webhook(backend, caller=caller, now=now)
    sizes = _check_inputs(backend, uploads, request, caller=caller, batch=None).sizes
    return Checked(sizes, _require_worker(backend, request.options, sizes))


def submit(
    backend: Backend,
    uploads: Uploads,
    request: JobRequest,
    *,
    caller: str,
    now: datetime,
    note_key: NoteKey = note_no_key,
    traceparent: str | None = None,
) -> Added:
    """Store the new pictures, and add the job, as a part of a trace; a refused request leaves nothing behind.

    Raises:
        NotFound: naming the assets that do not exist.
        PictureRefused: naming the pictures that cannot be used, or not at the size asked for.
        InsufficientMemory: when no worker that is connected could hold the job, and no result is reused.
        FastModelUnavailable: when it needs the fast method, no worker that is connected serves it, and one
            says that its machine lacks the model; and no result is reused.
        SizeNotAllowed: when it is larger than any job may be.
        PriorityNotAllowed: when it asks for a higher one than any job may have.
        WebhookRefused, WebhookSecretMissing: when its webhook may not be told, or could not be signed.
        TooManyJobs, TooManyDrafts: when the caller has too many jobs queued or running, or drafts under way.
        TooManyBytes: when the caller has too many bytes stored, these pictures among them.
        StorageFull: when the disks have too little room left.
        StorageUnavailable: when new pictures cannot be stored.
        DatabaseUnavailable: when the rows cannot be written.
    """
    options, fields = request.options, request.fields
    kind, settings = JobKind(fields.kind), backend.settings
    require_size(options.size, settings.max_size_px)
    priority = fields.priority_within(settings.max_priority)
    backend.require_room()
    fields.require_webhook(backend, caller=caller, now=now)
    limits = backend.limits_of(caller, adds_bytes=True)
    with uploads.batch() as batch:
        taken = _check_inputs(backend, uploads, request, caller=caller, batch=batch)
        route = route_for(options.methods)
        queue = read_queue_to_join(backend, route)  # what the answer then tells rests on the same
        work = Work.of_job(options, options.steps, **taken.sizes)
        run = estimate_run(work, queue.runs, devices=queue.devices)
        with decide_reuse(
            backend, taken.work, caller=caller, reuse=fields.reuse, is_new=taken.is_new
        ) as decision:
            if decision.leader is None:
                _require_worker(backend, options, taken.sizes)
            with backend.database.write() as session:
                if kind is JobKind.DRAFT:
                    limits.require_draft_place(session, replaces=fields.replaces)
                if decision.leader is None:  # else it ends here and now
                    limits.require_job_place(session)
                assets = taken.rows(session, caller=caller, now=now)
                limits.require_bytes(session, is_job=True)
                columns = fields.deadline_columns(now) | decision.columns(session)
                if kind is JobKind.DRAFT and columns["queue_deadline"] is None:
                    columns["queue_deadline"] = now + timedelta(hours=settings.draft_hours)
                position, told = None, {}
                if columns.get("leader_id") is not None:
                    # It waits for another job, and for no worker.
                    hurry_leader(session, columns["leader_id"], priority=priority)
                elif decision.leader is None:
                    flow = FlowKey(caller, route, priority)
                    columns["virtual_start"] = start = next_start(session, flow)
                    position = place_to_join(session, flow, now, decision.job_id, start=start)
                    wait = wait_ahead(position, queue)
                    told = note_told(wait, estimate_end(wait, run))
                try:
                    job = add_job(
                        session,
                        caller=caller,
                        kind=kind,
                        name=(fields.name or "").strip(),
                        content=assets["content"],
                        style=assets["style"],
                        options=options,
                        labels=fields.labels,
                        max_attempts=settings.max_attempts,
                        now=now,
                        priority=priority,
                        estimated_seconds=reckon_seconds(work, run),
                        metrics=told,
                        traceparent=traceparent,
                        extra=columns,
                    )
                except IntegrityError:
                    _find_assets(session, request.inputs, caller=caller)  # unused ones may have been removed
                    raise
                fields.add_webhook(session, job, now=now)
                decision.settle(session, job, now=now)
                note_key(session, decision.job_id)
                added = Added(job.id, _as_written(session, job, position))
            if kind is JobKind.DRAFT and fields.replaces is not None:
                drafts.cancel_replaced(backend, fields.replaces, caller=caller, now=now)
            return added


def _require_worker(backend: Backend, options: StyleOptions, sizes: Sizes) -> MemoryNeed:
    """Return what a new job needs, unless no worker that is connected could carry it out, and that is known.

    Raises:
        InsufficientMemory, FastModelUnavailable: as `submit` does.
    """
    beats = backend.recent_workers()
    memory = decide_memory(options, sizes, beats)
    refusal = decide_no_model(options, beats) or memory.refusal
    if refusal is not None:
        raise refusal
    return memory


def _as_written(session: Session, job: Job, position: int | None) -> WrittenJob | None:
    """Return a job as this session has written it, so that its answer reads nothing again."""
    row = None if position is None else read_row(session, job.id, caller=job.caller)
    return None if row is None or position is None else WrittenJob(job, row, position)


@dataclass(frozen=True)
class _CheckedInputs:
    """The checked inputs of a request: their sizes, and what is known, or new, of each.

    `work` is as `work_sha256` has it; `is_new` that the caller was seen to have no job with it.
    """

    sizes: Sizes
    known: Mapping[str, Asset]
    pictures: Mapping[str, Picture]
    work: str
    is_new: bool

    def rows(self, session: Session, *, caller: str, now: datetime) -> dict[str, Asset]:
        """Return the rows of all inputs; known assets as they were found, though they may be gone by now."""
        assets = dict(self.known)
        for part, picture in self.pictures.items():
            assets[part], _ = add_asset(session, picture, caller=caller, now=now)
        return assets


def _check_inputs(
    backend: Backend, uploads: Uploads, request: JobRequest, *, caller: str, batch: UploadBatch | None
) -> _CheckedInputs:
    """Check all inputs: first the known assets, which is cheap, then the new pictures."""
    sizes: Sizes = {}

    def measure(part: str, width: int, height: int) -> None:
        sizes[part] = taken_size(width, height, part=part, options=request.options)

    files = {part: given.file for part, given in request.inputs.items() if isinstance(given, NewPicture)}
    with backend.database.read() as session:
        assets = _find_assets(session, request.inputs, caller=caller)
        hashes = {part: asset.sha256 for part, asset in assets.items()}
        work = None if files else _work(hashes, request.options)
        is_new = work is not None and not is_known(session, work, caller=caller)
    checks = PartChecks()
    for part, asset in assets.items():
        with checks.of(part):
            measure(part, asset.width, asset.height)
    checks.settle()
    pictures = uploads.take(
        files,
        batch=batch,
        check=lambda part, picture: measure(part, picture.facts.width, picture.facts.height),
    )
    hashes |= {part: picture.sha256 for part, picture in pictures.items()}
    in_order = {part: sizes[part] for part in request.inputs}
    return _CheckedInputs(in_order, assets, pictures, work or _work(hashes, request.options), is_new)


def _work(hashes: Mapping[str, str], options: StyleOptions) -> str:
    return work_sha256(content_sha256=hashes["content"], style_sha256=hashes["style"], options=options)


def gone_words(part: str) -> str:
    """Return what is said of a part whose asset is not there."""
    return f"{part} is not kept here any more, or never was; upload the picture once more"


def _find_assets(session: Session, inputs: Mapping[str, Input], *, caller: str) -> dict[str, Asset]:
    ids = {part: given.asset_id for part, given in inputs.items() if isinstance(given, KnownAsset)}
    asked = {asset_id for asset_id in ids.values() if _ID.fullmatch(asset_id)}
    known = get_assets(session, asked, caller=caller) if asked else {}
    missing = [part for part, asset_id in ids.items() if asset_id not in known]
    if missing:
        faults = tuple(Fault(f"/{part}", NotFound.code, gone_words(part)) for part in missing)
        raise NotFound("; ".join(fault.detail for fault in faults), faults=faults)
    return {part: known[asset_id] for part, asset_id in ids.items()}

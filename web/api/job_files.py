"""The files of a job: previews, the output, checkpoints, attempts, and thumbnails."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import BinaryIO

from flask import Blueprint, Response, request

from shared.errors import (
    ArtifactMissing,
    DirectNotAvailable,
    FileDamaged,
    MalformedRequest,
    NotFound,
    NotReady,
    PictureInvalid,
    StorageUnavailable,
)
from shared.options import steps_of
from shared.storage.layout import picture_type
from web.api import API_PATH
from web.api.http import FOREVER_SECONDS, disposition, json_answer, send_bytes, send_stored
from web.api.job_view import job_url, live_part
from web.api.openapi import IF_NONE_MATCH, NOT_MODIFIED, RANGE, Answer, Operation, Parameter, part_of
from web.api.schemas import AttemptOut, AttemptsOut, CheckpointOut, CheckpointsOut
from web.assets.thumbnails import newest_preview, thumbnail_version
from web.assets.uploads import get_asset
from web.db.models import Job
from web.jobs.queries import get_job
from web.jobs.sharing import require_output
from web.jobs.transitions import get_checkpoint, list_attempts, list_checkpoints
from web.security import current_caller
from web.services import get_backend, get_services

job_files = Blueprint("job_files", __name__, url_prefix=f"{API_PATH}/jobs/<job_id>")
_ANSWERS = {
    200: Answer("A JPEG of at most 384 px a side", media_types=("image/jpeg",)),
    206: part_of("image/jpeg"),
    304: NOT_MODIFIED,
}
#: What is allowed of a job that succeeded if, and only if, its result is not what it was.
_REMEDY = "retry the job, which goes on from its last checkpoint"
_CHECKPOINT_TYPES = ("image/jpeg", "image/png")
#: Of a SHA-256: enough that another checkpoint of the step has others.
_VERSION_CHARS = 8
#: How long an address in the storage itself is of use.
_DIRECT_SECONDS = 300
_DIRECT = Parameter(
    "direct",
    f"`true`: 307 to an address in the S3 store itself, which needs no token and is of use for "
    f"{_DIRECT_SECONDS // 60} minutes",
    schema={"type": "string", "enum": ["true", "false"], "default": "false"},
)
_AT_STORE = Answer(
    "With `direct=true`: where the file is; of what comes from there, compare the SHA-256",
    headers={"Location": "The address; whoever has it gets the file"},
)
_REFUSALS = (NotFound, ArtifactMissing, FileDamaged, PictureInvalid, StorageUnavailable)
thumbnails = Blueprint("thumbnails", __name__, url_prefix=API_PATH)


@job_files.get("/preview")
@Operation(
    "See the newest preview",
    "pictures",
    answers={
        200: Answer("A JPEG", media_types=("image/jpeg",)),
        206: part_of("image/jpeg"),
        304: NOT_MODIFIED,
    },
    refusals=(NotFound, NotReady, StorageUnavailable),
    parameters=(
        Parameter("step", "As in the event `preview`: makes the address of a newer picture another one"),
        IF_NONE_MATCH,
        RANGE,
    ),
)
def read_preview(job_id: str) -> Response:
    """Give the picture as it is, of this attempt or, as long as that has none, of the one before."""
    job = _find(job_id)
    data = newest_preview(get_backend().storage, job)
    if data is None:
        raise NotReady(f"the job is {job.status} at step {job.step}; it has no preview yet")
    return send_bytes(data, content_type="image/jpeg", etag=hashlib.sha256(data).hexdigest())


@job_files.get("/output")
@Operation(
    "Download the result",
    "pictures",
    answers={
        200: Answer("The final picture", media_types=("image/png",)),
        206: part_of("image/png"),
        304: NOT_MODIFIED,
        307: _AT_STORE,
    },
    refusals=(
        MalformedRequest,
        NotFound,
        NotReady,
        DirectNotAvailable,
        ArtifactMissing,
        FileDamaged,
        StorageUnavailable,
    ),
    parameters=(
        Parameter("v", "Of your choice, so that the address of another result is another one"),
        _DIRECT,
        IF_NONE_MATCH,
        RANGE,
    ),
)
def read_output(job_id: str) -> Response:
    """Give the final picture; its ETag is its SHA-256. One that is damaged is refused."""
    job = _find(job_id)
    require_output(job)
    output = job.outputs[0]
    name = (job.name or job.id) + (PurePosixPath(output["name"]).suffix or ".png")
    if _wants_direct():
        return _direct(
            output["key"], content_type=output["content_type"], name=name, size_bytes=output["size_bytes"]
        )
    try:
        file = _open(output["key"], sha256=output["sha256"], size_bytes=output["size_bytes"])
    except FileDamaged as error:
        raise FileDamaged(f"the result is damaged: {error.detail}; {_REMEDY}") from None
    return send_stored(
        file,
        content_type=output["content_type"],
        etag=output["sha256"],
        download_name=name,
    )


@job_files.get("/checkpoints")
@Operation(
    "List checkpoints",
    "pictures",
    answers={200: Answer("All of them", (CheckpointsOut,))},
    refusals=(NotFound,),
)
def index_checkpoints(job_id: str) -> Response:
    """List the checkpoints of a job by step, each with its losses and a picture.

    Of many, only some keep the state that a fork begins with; the last two always do.
    """
    job = _find(job_id)
    with get_backend().database.read() as session:
        found = list_checkpoints(session, job.id)
    shown = [
        CheckpointOut(
            step=checkpoint.step,
            attempt=checkpoint.attempt,
            losses=checkpoint.losses,
            curve=checkpoint.curve,
            sha256=checkpoint.sha256,
            numerics=checkpoint.numerics,
            created_at=checkpoint.created_at,
            has_state=checkpoint.has_state,
            content_type=picture_type(checkpoint.picture_key),
            url=job_url(job.id, "checkpoints", checkpoint.step),
        )
        for checkpoint in found
    ]
    return json_answer(CheckpointsOut(checkpoints=shown).model_dump(mode="json"))


@job_files.get("/checkpoints/<int:step>")
@Operation(
    "See a checkpoint",
    "pictures",
    answers={
        200: Answer(
            "Its picture, a JPEG; of a job of an earlier release a PNG", media_types=_CHECKPOINT_TYPES
        ),
        206: part_of(*_CHECKPOINT_TYPES),
        304: NOT_MODIFIED,
        307: _AT_STORE,
    },
    refusals=(
        MalformedRequest,
        NotFound,
        DirectNotAvailable,
        ArtifactMissing,
        FileDamaged,
        StorageUnavailable,
    ),
    parameters=(_DIRECT, IF_NONE_MATCH, RANGE),
)
def read_checkpoint(job_id: str, step: int) -> Response:
    """Give the picture at a step that has a checkpoint."""
    job = _find(job_id)
    # Also since no database takes every number.
    if step > steps_of(job.options):
        raise NotFound(f"the job has {steps_of(job.options)} steps; there is no checkpoint at {step}")
    with get_backend().database.read() as session:
        checkpoint = get_checkpoint(session, job.id, step)
    name = f"{job.name or job.id}-step-{step}{PurePosixPath(checkpoint.picture_key).suffix}"
    content_type = picture_type(checkpoint.picture_key)
    if _wants_direct():
        return _direct(checkpoint.picture_key, content_type=content_type, name=name)
    return send_stored(
        _open(checkpoint.picture_key),
        content_type=content_type,
        # The state decides the picture.
        etag=f"{checkpoint.sha256}-picture",
        download_name=name,
    )


@job_files.get("/attempts")
@Operation(
    "List attempts",
    "jobs",
    answers={200: Answer("All of them", (AttemptsOut,))},
    refusals=(NotFound,),
)
def index_attempts(job_id: str) -> Response:
    """List who carried the job out, from which step on, and how it ended."""
    job = _find(job_id)
    with get_backend().database.read() as session:
        found = list_attempts(session, job.id)
    shown = [
        AttemptOut(
            number=attempt.number,
            worker_id=attempt.worker_id,
            device=attempt.device,
            resumed_from_step=attempt.resumed_from_step,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            outcome=attempt.outcome,
            numerics=attempt.numerics,
            exact=attempt.is_exact,
        )
        for attempt in found
    ]
    return json_answer(AttemptsOut(attempts=shown).model_dump(mode="json"))


def _wants_direct() -> bool:
    """Whether the request asks for an address in the storage.

    Raises:
        MalformedRequest: when it says neither.
    """
    asked = request.args.get("direct", "false")
    if asked not in ("true", "false"):
        raise MalformedRequest.at("/direct", f"direct is '{asked}'; allowed are true and false")
    return asked == "true"


def _direct(key: str, *, content_type: str, name: str, size_bytes: int | None = None) -> Response:
    """Lead to a file in the storage itself, if it is there and has its size.

    Raises:
        DirectNotAvailable: when the storage has no such addresses.
        ArtifactMissing, FileDamaged, StorageUnavailable: when the file is not there, or not whole.
    """
    backend = get_backend()
    address = backend.storage.direct_url(
        key, seconds=_DIRECT_SECONDS, content_type=content_type, disposition=disposition(name)
    )
    if address is None:
        raise DirectNotAvailable("the storage is a folder, whose files come through this service alone")
    try:
        found = backend.storage.stat(key).size_bytes
    except ArtifactMissing:
        backend.check_storage()  # it may be all of it that is not there
        raise
    if size_bytes not in (None, found):
        raise FileDamaged(
            f"the file is damaged: {key} has {found} bytes; {size_bytes} were written; {_REMEDY}"
        )
    return Response(status=307, headers={"Location": address, "Cache-Control": "no-store"})


def _open(key: str, *, sha256: str | None = None, size_bytes: int | None = None) -> BinaryIO:
    services = get_services()
    try:
        return services.thumbnails.files.open(key, sha256=sha256, size_bytes=size_bytes)
    except ArtifactMissing:
        services.backend.check_storage()  # it may be all of it that is not there
        raise


def _find(job_id: str) -> Job:
    with get_backend().database.read() as session:
        return get_job(session, job_id, caller=current_caller())


@thumbnails.get("/jobs/<job_id>/thumbnail")
@Operation(
    "See a job in small",
    "pictures",
    answers=_ANSWERS,
    refusals=_REFUSALS,
    parameters=(
        Parameter("v", "As in `urls.thumbnail`: the answer may be kept for ever as long as it is the newest"),
        IF_NONE_MATCH,
        RANGE,
    ),
)
def read_job_thumbnail(job_id: str) -> Response:
    """Give the result in small, else the newest preview, else the content picture."""
    services = get_services()
    with services.backend.database.read() as session:
        job = get_job(session, job_id, caller=current_caller())
    version = request.args.get("v")
    # Read before the picture: what comes in between is a newer picture under an older version, never the
    # other way round.
    is_newest = version == thumbnail_version(
        job, live_part(job, services.backend.live.progress([job.id]).get(job.id))
    )
    return _send(services.thumbnails.of_job(job), is_lasting=is_newest)


@thumbnails.get("/jobs/<job_id>/checkpoints/<int:step>/thumbnail")
@Operation(
    "See a checkpoint in small",
    "pictures",
    answers=_ANSWERS,
    refusals=_REFUSALS,
    parameters=(
        Parameter("v", "The beginning of the checkpoint's `sha256`: then the answer may be kept for ever"),
        IF_NONE_MATCH,
        RANGE,
    ),
)
def read_step_thumbnail(job_id: str, step: int) -> Response:
    """Give the picture at a step that has a checkpoint, in small."""
    services = get_services()
    with services.backend.database.read() as session:
        job = get_job(session, job_id, caller=current_caller())
        if step > steps_of(job.options):
            raise NotFound(f"the job has {steps_of(job.options)} steps; there is no checkpoint at {step}")
        checkpoint = get_checkpoint(session, job.id, step)
    version = request.args.get("v", "")
    is_same = len(version) >= _VERSION_CHARS and checkpoint.sha256.startswith(version)
    return _send(services.thumbnails.of_checkpoint(checkpoint), is_lasting=is_same)


@thumbnails.get("/assets/<asset_id>/thumbnail")
@Operation(
    "See an asset in small", "assets", answers=_ANSWERS, refusals=_REFUSALS, parameters=(IF_NONE_MATCH, RANGE)
)
def read_picture_thumbnail(asset_id: str) -> Response:
    """Give an uploaded picture in small."""
    services = get_services()
    with services.backend.database.read() as session:
        asset = get_asset(session, asset_id, caller=current_caller())
    return _send(services.thumbnails.of_asset(asset), is_lasting=True)


def _send(data: bytes, *, is_lasting: bool) -> Response:
    return send_bytes(
        data,
        content_type="image/jpeg",
        etag=hashlib.sha256(data).hexdigest(),
        max_age=FOREVER_SECONDS if is_lasting else 0,
    )

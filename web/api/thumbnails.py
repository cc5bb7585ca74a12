"""The views of thumbnails: a job, a checkpoint, or an uploaded picture, in small."""

from __future__ import annotations

import hashlib

from flask import Blueprint, Response, request

from shared.errors import ArtifactMissing, NotFound, PictureInvalid, StorageUnavailable
from web.api import API_PATH
from web.api.files import FOREVER_SECONDS, send_bytes
from web.api.job_json import live_part
from web.caller import current_caller
from web.docs.operation import IF_NONE_MATCH, NOT_MODIFIED, PARTIAL, RANGE, Answer, Operation, Parameter
from web.repository.assets import get_asset
from web.repository.history import get_checkpoint
from web.repository.jobs import get_job
from web.services import get_services
from web.thumbnail import thumbnail_version
from web.thumbnail_shelf import read_asset_thumbnail, read_checkpoint_thumbnail, read_thumbnail

_ANSWERS = {
    200: Answer("A JPEG of at most 384 px a side", media_types=("image/jpeg",)),
    206: PARTIAL,
    304: NOT_MODIFIED,
}
#: Of a SHA-256: enough that another checkpoint of the step has others.
_VERSION_CHARS = 8
_REFUSALS = (NotFound, ArtifactMissing, PictureInvalid, StorageUnavailable)
thumbnails = Blueprint("thumbnails", __name__, url_prefix=API_PATH)


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
    with services.database.read() as session:
        job = get_job(session, job_id, caller=current_caller())
    version = request.args.get("v")
    # Read before the picture: what comes in between is a newer picture under an older version, never the
    # other way round.
    is_newest = version == thumbnail_version(
        job, live_part(job, services.live.progress([job.id]).get(job.id))
    )
    return _send(read_thumbnail(services, job), is_lasting=is_newest)


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
    with services.database.read() as session:
        job = get_job(session, job_id, caller=current_caller())
        if step > job.options["steps"]:
            raise NotFound(f"the job has {job.options['steps']} steps; there is no checkpoint at {step}")
        checkpoint = get_checkpoint(session, job.id, step)
    version = request.args.get("v", "")
    is_same = len(version) >= _VERSION_CHARS and checkpoint.sha256.startswith(version)
    return _send(read_checkpoint_thumbnail(services, checkpoint), is_lasting=is_same)


@thumbnails.get("/assets/<asset_id>/thumbnail")
@Operation(
    "See an asset in small", "assets", answers=_ANSWERS, refusals=_REFUSALS, parameters=(IF_NONE_MATCH, RANGE)
)
def read_picture_thumbnail(asset_id: str) -> Response:
    """Give an uploaded picture in small."""
    services = get_services()
    with services.database.read() as session:
        asset = get_asset(session, asset_id, caller=current_caller())
    return _send(read_asset_thumbnail(services, asset), is_lasting=True)


def _send(data: bytes, *, is_lasting: bool) -> Response:
    return send_bytes(
        data,
        content_type="image/jpeg",
        etag=hashlib.sha256(data).hexdigest(),
        max_age=FOREVER_SECONDS if is_lasting else 0,
    )

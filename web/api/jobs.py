"""The views of jobs: handing in, listing, reading."""

from __future__ import annotations

from flask import Blueprint, Response, request

from shared.errors import (
    DatabaseUnavailable,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidOptions,
    MalformedRequest,
    MissingPart,
    NotFound,
    PictureRefused,
    PictureTooHeavy,
    PictureUnsupported,
    StorageUnavailable,
)
from web.api import API_PATH
from web.api.answers import json_answer
from web.api.body import refuse_unknown
from web.api.forecast_shapes import ValidationOut
from web.api.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADER
from web.api.job_answer import job_answer
from web.api.job_query import COUNTS, PAGE_SIZE, PARAMETERS, page_size, read_filter, wants_counts
from web.api.job_shapes import JobListOut, JobOut
from web.api.job_view import read_view, read_views, wait_until_changed
from web.api.page_token import make_token, read_token
from web.api.prefer import wait_seconds
from web.api.submit import submit_job
from web.caller import current_caller
from web.docs.operation import (
    IF_NONE_MATCH,
    JSON,
    MULTIPART,
    NOT_MODIFIED,
    WAIT,
    Answer,
    Operation,
    Parameter,
)
from web.job_fields import MAX_TIMEOUT_SECONDS, SubmitBody
from web.repository.jobs import count_by_status, list_jobs
from web.services import get_services

_FILE = {"type": "string", "contentMediaType": "image/*"}
_JSON_TEXT = {"type": "string", "contentMediaType": "application/json"}
_TIMEOUT = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_SECONDS}
jobs = Blueprint("jobs", __name__, url_prefix=f"{API_PATH}/jobs")

jobs.post("")(
    Operation(
        "Submit a job",
        "jobs",
        answers={
            202: Answer(
                "Taken in; it is kept from now on",
                (JobOut,),
                headers={
                    "Location": "The job",
                    "Retry-After": "Seconds until asking again makes sense",
                    **REPLAYED_HEADER,
                },
            ),
            200: Answer(
                "It has ended while you waited, or was given an earlier job's result; with validate_only, "
                "what it would be carried out with",
                (JobOut, ValidationOut),
                headers={"Location": "The job", **REPLAYED_HEADER},
            ),
        },
        refusals=(
            MalformedRequest,
            InvalidOptions,
            MissingPart,
            NotFound,
            PictureTooHeavy,
            PictureUnsupported,
            PictureRefused,
            IdempotencyKeyInUse,
            IdempotencyKeyReused,
            StorageUnavailable,
            DatabaseUnavailable,
        ),
        parameters=(
            Parameter(
                "validate_only",
                "true: check everything and store nothing",
                schema={"type": "boolean", "default": False},
            ),
            WAIT,
            IDEMPOTENCY_KEY,
        ),
        bodies={
            JSON: SubmitBody,
            MULTIPART: {
                "type": "object",
                "required": ["content", "style"],
                "properties": {
                    "content": _FILE,
                    "style": _FILE,
                    "options": {**_JSON_TEXT, "contentSchema": {"$ref": "#/components/schemas/StyleOptions"}},
                    "name": {"type": "string", "maxLength": 200},
                    "labels": {**_JSON_TEXT, "contentSchema": {"type": "object"}},
                    "queue_timeout_seconds": _TIMEOUT,
                    "run_timeout_seconds": _TIMEOUT,
                    "reuse": {"type": "boolean", "default": True},
                },
                "additionalProperties": False,
            },
        },
    )(submit_job)
)


@jobs.get("")
@Operation(
    "List jobs",
    "jobs",
    answers={
        200: Answer("A page of jobs, newest first", (JobListOut,), headers={"ETag": "For If-None-Match"}),
        304: NOT_MODIFIED,
    },
    refusals=(MalformedRequest,),
    parameters=(*PARAMETERS, IF_NONE_MATCH),
)
def index() -> Response:
    """List your jobs, newest first, as each is now. Go on with `next_page_token` and the same filters."""
    refuse_unknown("parameter", request.args, known=[parameter.name for parameter in PARAMETERS])
    only, size = read_filter(request.args), page_size(request.args.get(PAGE_SIZE))
    token = request.args.get("page_token")
    before_id = read_token(token, only) if token else None
    caller = current_caller()
    services, counts = get_services(), None
    if wants_counts(request.args.get(COUNTS)):
        with services.database.read() as session:
            counts = count_by_status(session, caller=caller, only=only)
    views = read_views(
        services,
        lambda session: list_jobs(session, caller=caller, only=only, before_id=before_id, limit=size + 1),
    )
    last_id = views[size - 1].job.id if len(views) > size else None
    page = {
        "jobs": [view.data for view in views[:size]],
        "next_page_token": make_token(last_id, only) if last_id else None,
        "counts": counts,
    }
    response = json_answer(page)
    response.add_etag()
    response.make_conditional(request)
    return response


@jobs.get("/<job_id>")
@Operation(
    "Read a job",
    "jobs",
    answers={200: Answer("The job", (JobOut,), headers={"ETag": "For If-None-Match"}), 304: NOT_MODIFIED},
    refusals=(NotFound,),
    parameters=(IF_NONE_MATCH, WAIT),
)
def read_job(job_id: str) -> Response:
    """Read a job as it is now, with its live progress.

    With `If-None-Match` the answer is 304 when nothing is shown differently; with `Prefer: wait=N` besides,
    the answer comes when something is, at the latest after N seconds.
    """
    services, caller = get_services(), current_caller()
    view = read_view(services, job_id, caller=caller)
    headers = {}
    seconds = wait_seconds(request.headers.get("Prefer"))
    known = request.if_none_match
    waits = seconds and known.contains(view.etag) and not view.job.job_status.is_final
    # A preference may be passed over: with all places taken, the answer comes at once.
    if waits and services.waits.take():
        try:
            view = wait_until_changed(services, view, caller=caller, seconds=seconds)
        finally:
            services.waits.give_back()
        headers["Preference-Applied"] = f"wait={seconds}"
    response = job_answer(view, headers=headers)
    response.make_conditional(request)
    return response

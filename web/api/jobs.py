"""The list of jobs with its filters, and one job; the address where jobs are submitted."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.datastructures import MultiDict

from shared.clock import from_rfc3339
from shared.errors import MalformedRequest, NotFound
from shared.status import JobKind, JobStatus
from shared.texts import Whole
from web.api import API_PATH
from web.api.http import json_answer, make_token, read_query, read_token, wait_seconds
from web.api.job_view import read_views
from web.api.job_waits import answer_when_changed
from web.api.openapi import (
    CALLER,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    WAIT,
    Answer,
    Operation,
    Parameter,
    query_parameters,
)
from web.api.rendered_jobs import RenderedJob, read_rendered
from web.api.schemas import JobListOut, JobOut
from web.api.submit import submit_job
from web.jobs.lists import JobFilter, list_jobs
from web.security import current_caller
from web.services import get_services

#: The names of two fields of `ListQuery`, for the pages.
PAGE_SIZE = "page_size"
COUNTS = "counts"


class ListQuery(BaseModel):
    """What the query of a list says beside its filters."""

    model_config = ConfigDict(frozen=True, strict=True)

    counts: bool = Field(
        False,
        description="`true`: tell as well how many jobs there are of each status, "
        "by all filters but the status",
    )
    page_size: Whole = Field(50, ge=1, le=200, description="How many jobs at most")


PARAMETERS = (
    Parameter(
        "status",
        "Only jobs of this status; several, or separated by commas, mean any of them",
        schema={"type": "array", "items": {"$ref": "#/components/schemas/JobStatus"}},
        example=["queued", "running"],
    ),
    Parameter(
        "label",
        "Only jobs with this label, as key:value; several mean all of them",
        schema={"type": "array", "items": {"type": "string", "pattern": "^[^:]+:"}},
        example=["project:harbour"],
    ),
    Parameter(
        "name", "Only jobs with this in their name; capital and small letters are alike", example="harbour"
    ),
    Parameter("id_prefix", "Only jobs whose id begins with this"),
    Parameter("batch_id", "Only jobs of this batch"),
    Parameter(
        "kind",
        "Drafts in the place of jobs",
        schema={"$ref": "#/components/schemas/JobKind", "default": "job"},
        example="draft",
    ),
    Parameter(
        "created_after",
        "Only jobs younger than this moment (RFC 3339)",
        schema={"type": "string", "format": "date-time"},
        example="2026-11-23T08:47:41Z",
    ),
    *query_parameters(ListQuery),
    Parameter("page_token", "The `next_page_token` of the page before; goes with the same filters only"),
)
jobs = Blueprint("jobs", __name__, url_prefix=f"{API_PATH}/jobs")
jobs.post("")(submit_job)


@jobs.get("")
@Operation(
    "List jobs",
    "jobs",
    answers={
        200: Answer("A page of jobs, newest first", (JobListOut,), headers={"ETag": "For If-None-Match"}),
        304: NOT_MODIFIED,
    },
    refusals=(MalformedRequest,),
    parameters=(*PARAMETERS, CALLER, IF_NONE_MATCH),
)
def index() -> Response:
    """List your jobs, newest first, as each is now. Go on with `next_page_token` and the same filters."""
    only, asked = read_filter(request.args), read_query(ListQuery, request.args)
    size = asked.page_size
    token = request.args.get("page_token")
    before_id = read_token(token, only) if token else None
    caller = current_caller()
    services, counts = get_services(), None
    if asked.counts:
        with services.backend.database.read() as session:
            counts = services.counts.read(session, caller=caller, only=only)
    views = read_views(
        services.backend,
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
    the answer comes when something is, at the latest after N seconds. The waits in `queue` rest on what was
    so up to a second ago; its `position` is that of now.
    """
    services, caller = get_services(), current_caller()
    job = read_rendered(services, job_id, caller=caller)
    seconds = wait_seconds(request.headers.get("Prefer"))
    known = request.if_none_match
    waits = seconds and known.contains_weak(job.etag) and not job.status.is_final
    # A preference may be passed over: with all places taken, the answer comes at once.
    if waits and services.waits.take():
        return answer_when_changed(services, job, _answer_for, caller=caller, seconds=seconds)
    return _answer_for(job)


def _answer_for(job: RenderedJob) -> Response:
    response = job.answer()
    response.make_conditional(request)
    return response


def read_filter(query: MultiDict[str, str]) -> JobFilter:
    """Return the filter in a query.

    Raises:
        MalformedRequest: naming the parameter that cannot be read, and what is allowed.
    """
    moment = query.get("created_after")
    return JobFilter(
        kind=_kind(query.get("kind") or JobKind.JOB.value),
        statuses=[_status(word) for text in query.getlist("status") for word in text.split(",") if word],
        labels=_labels(query.getlist("label")),
        batch_id=query.get("batch_id") or None,
        created_after=_moment(moment) if moment else None,
        name=query.get("name", "").strip(),
        id_prefix=query.get("id_prefix", "").strip().lower(),
    )


def _kind(word: str) -> JobKind:
    try:
        return JobKind(word.strip())
    except ValueError:
        detail = f"kind is '{word}'; allowed are {', '.join(JobKind)}"
        raise MalformedRequest.at("/kind", detail) from None


def _status(word: str) -> JobStatus:
    try:
        return JobStatus(word.strip())
    except ValueError:
        detail = f"status is '{word}'; allowed are {', '.join(JobStatus)}"
        raise MalformedRequest.at("/status", detail) from None


def _labels(texts: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition(":")
        if not (key and separator):
            raise MalformedRequest.at("/label", f"label is '{text}'; it must be of the form key:value")
        if labels.setdefault(key, value) != value:
            detail = f"label {key} is asked for with two values; a job has one"
            raise MalformedRequest.at("/label", detail)
    return labels


def _moment(text: str) -> datetime:
    try:
        return from_rfc3339(text)
    except (ValueError, OverflowError):
        detail = (
            f"created_after is '{text}'; it must be like 2026-11-23T08:47:41Z (a + in a query is written %2B)"
        )
        raise MalformedRequest.at("/created_after", detail) from None

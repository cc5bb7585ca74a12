"""The view of a job's event stream."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, request

from shared.errors import NotFound, TooManyStreams
from web.api import API_PATH
from web.api.job_stream import JobStream
from web.caller import current_caller
from web.docs.operation import Answer, Operation, Parameter
from web.repository.jobs import get_job
from web.services import get_services

events = Blueprint("events", __name__, url_prefix=f"{API_PATH}/jobs/<job_id>")


@events.get("/events")
@Operation(
    "Watch a job",
    "jobs",
    answers={
        200: Answer("Server-sent events", media_types=("text/event-stream",)),
        204: Answer("The job has ended, and you have seen its last event: do not come back"),
    },
    refusals=(NotFound, TooManyStreams),
    parameters=(
        Parameter(
            "Last-Event-ID",
            "The last id you have seen: the durable events since are sent again",
            "header",
            {"type": "integer"},
        ),
    ),
)
def watch_job(job_id: str) -> Response:
    """Watch a job: `status`, `attempt`, `checkpoint` and `output` events are durable and have an `id`.

    `progress` (at most twice a second) and `preview` tell the latest only. A fresh stream begins with a
    `status` event that holds the whole `job`, one with `Last-Event-ID` with the durable events since; a
    `status` that tells how the job is now holds the whole `job` too. A comment comes every 15 s. The stream
    ends after the final status, and after 5 min, when a client is expected to come back.
    """
    services, caller = get_services(), current_caller()
    with services.database.read() as session:
        job = get_job(session, job_id, caller=caller)
    last_id = _last_id(request.headers.get("Last-Event-ID"))
    if job.job_status.is_final and last_id == job.version:
        return Response(status=204)
    if not services.streams.take():
        raise TooManyStreams(
            f"all {services.streams.count} event streams are taken; poll the job, or try again later"
        )
    stream = JobStream(services, job.id, caller=caller, last_id=last_id)
    response = Response(_encode(iter(stream)), content_type="text/event-stream; charset=utf-8")
    response.call_on_close(services.streams.give_back)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _encode(texts: Iterator[str]) -> Iterator[bytes]:
    for text in texts:
        yield text.encode("utf-8", "replace")


def _last_id(text: str | None) -> int | None:
    """Return the id a client saw last; one that we cannot have sent means a fresh start."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text)

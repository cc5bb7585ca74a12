"""The actions on a job: cancel, pause, resume, retry, extend, fork, change, delete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint, Response, request
from werkzeug.http import quote_etag

from shared.clock import utc_now
from shared.errors import (
    DatabaseUnavailable,
    FastModelUnavailable,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidOptions,
    InvalidState,
    MalformedRequest,
    MissingPart,
    NotFound,
    NotReady,
    NotTerminal,
    PictureTooNarrow,
    PriorityNotAllowed,
    SizeNotAllowed,
    StaleJob,
    StorageFull,
    StorageUnavailable,
    TooManyBytes,
    TooManyJobs,
    WebhookRefused,
    WebhookSecretMissing,
)
from web.api import API_PATH
from web.api.conditional import OtherVersion, has_conditions, require_match
from web.api.http import read_body, refuse_body
from web.api.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADER, answer_once
from web.api.job_view import job_url
from web.api.openapi import IF_MATCH, JSON, Answer, Operation
from web.api.rendered_jobs import RenderedJob, read_rendered
from web.api.schemas import JobOut
from web.jobs import actions
from web.jobs.fields import ChangeBody, ExtendBody, ForkBody, RetryBody
from web.jobs.forking import fork_job
from web.jobs.idempotency import NoteKey
from web.security import current_caller, current_traceparent
from web.services import get_backend, get_services

_RETRY_SECONDS = 1
_KEY_REFUSALS = (IdempotencyKeyInUse, IdempotencyKeyReused)
_REFUSALS = (MalformedRequest, NotFound, InvalidState, StaleJob, DatabaseUnavailable)
job_actions = Blueprint("job_actions", __name__, url_prefix=f"{API_PATH}/jobs/<job_id>")


@job_actions.post("/cancel")
@Operation(
    "Cancel a job",
    "jobs",
    answers={200: Answer("The job, canceled or canceling", (JobOut,))},
    refusals=_REFUSALS,
    parameters=(IF_MATCH,),
)
def cancel(job_id: str) -> Response:
    """Cancel a job; asking again changes nothing. A running one stops at its next step: `canceling` first.

    What it has done so far is kept as a checkpoint, from which it can be retried or forked.
    """
    refuse_body()
    with _as_asked(job_id) as version:
        actions.cancel_job(get_backend(), job_id, caller=current_caller(), now=utc_now(), version=version)
    return _answer(job_id)


@job_actions.post("/pause")
@Operation(
    "Pause a job",
    "jobs",
    answers={200: Answer("The job, paused, or running with the reason pausing", (JobOut,))},
    refusals=_REFUSALS,
    parameters=(IF_MATCH,),
)
def pause(job_id: str) -> Response:
    """Pause a job; asking again changes nothing.

    A running one saves a checkpoint at its next step and sets its device free; until then it is `running`
    with the reason `pausing`.
    """
    refuse_body()
    with _as_asked(job_id) as version:
        actions.pause_job(get_backend(), job_id, caller=current_caller(), now=utc_now(), version=version)
    return _answer(job_id)


@job_actions.post("/resume")
@Operation(
    "Resume a job",
    "jobs",
    answers={200: Answer("The job, queued", (JobOut,))},
    refusals=(*_REFUSALS, NotReady, TooManyJobs, StorageUnavailable),
    parameters=(IF_MATCH,),
)
def resume(job_id: str) -> Response:
    """Let a paused job go on, from its checkpoint, on any worker; it ends as if it had not been paused.

    It stays paused when the file that it began with is damaged, and it has no checkpoint of its own.
    """
    refuse_body()
    with _as_asked(job_id) as version:
        actions.resume_job(get_backend(), job_id, caller=current_caller(), now=utc_now(), version=version)
    return _answer(job_id)


@job_actions.post("/retry")
@Operation(
    "Retry a job",
    "jobs",
    answers={200: Answer("The job, queued", (JobOut,))},
    refusals=(*_REFUSALS, NotReady, TooManyJobs, StorageFull, StorageUnavailable),
    parameters=(IF_MATCH,),
    bodies={JSON: RetryBody},
    needs_body=False,
)
def retry(job_id: str) -> Response:
    """Try a job again that failed, expired or was canceled: from its last checkpoint, or from zero.

    Also one that succeeded, if its result is damaged or gone: it makes the same once more.
    """
    body = read_body(RetryBody)
    with _as_asked(job_id) as version:
        actions.retry_job(
            get_backend(), job_id, body, caller=current_caller(), now=utc_now(), version=version
        )
    return _answer(job_id)


@job_actions.post("/keep")
@Operation(
    "Keep a draft",
    "jobs",
    answers={200: Answer("The job", (JobOut,))},
    refusals=_REFUSALS,
    parameters=(IF_MATCH,),
)
def keep(job_id: str) -> Response:
    """Make an ordinary job of a draft, with the picture that it has; nothing is computed again.

    It is then listed, and kept as long as jobs are. Of a job that is none nothing changes.
    """
    refuse_body()
    with _as_asked(job_id) as version:
        actions.keep_job(get_backend(), job_id, caller=current_caller(), now=utc_now(), version=version)
    return _answer(job_id)


@job_actions.post("/extend")
@Operation(
    "Extend a job",
    "jobs",
    answers={200: Answer("The job, queued", (JobOut,), headers=REPLAYED_HEADER)},
    refusals=(
        *_REFUSALS,
        *_KEY_REFUSALS,
        InvalidOptions,
        MissingPart,
        NotReady,
        SizeNotAllowed,
        TooManyJobs,
        StorageFull,
        StorageUnavailable,
    ),
    parameters=(IDEMPOTENCY_KEY, IF_MATCH),
    bodies={JSON: ExtendBody},
)
def extend(job_id: str) -> Response:
    """Let a job that succeeded make more steps, from where it ended.

    Its result can be downloaded meanwhile; the new one takes its place when the job succeeds again.
    """
    body = read_body(ExtendBody)

    def act(note_key: NoteKey) -> str:
        with _as_asked(job_id) as version:
            actions.extend_job(
                get_backend(),
                job_id,
                body,
                caller=current_caller(),
                now=utc_now(),
                note_key=note_key,
                version=version,
            )
        return job_id

    return answer_once(lambda: body.model_dump(mode="json", exclude_unset=True), act, _answer)


@job_actions.post("/fork")
@Operation(
    "Fork a job",
    "jobs",
    answers={
        202: Answer(
            "The new job; it is kept from now on",
            (JobOut,),
            headers={
                "Location": "The new job",
                "Retry-After": "Seconds until asking again makes sense",
                **REPLAYED_HEADER,
            },
        )
    },
    refusals=(
        MalformedRequest,
        NotFound,
        InvalidOptions,
        MissingPart,
        NotReady,
        PictureTooNarrow,
        FastModelUnavailable,
        WebhookRefused,
        WebhookSecretMissing,
        *_KEY_REFUSALS,
        SizeNotAllowed,
        PriorityNotAllowed,
        TooManyJobs,
        TooManyBytes,
        StorageFull,
        StorageUnavailable,
        DatabaseUnavailable,
    ),
    parameters=(IDEMPOTENCY_KEY, IF_MATCH),
    bodies={JSON: ForkBody},
)
def fork(job_id: str) -> Response:
    """Make a new job that begins with a checkpoint of this one, with other options.

    Options, priority, name and labels that are not given are the parent's. The parent may be at any status,
    is not changed, and may be deleted: the fork has a copy of the checkpoint.
    """
    body = read_body(ForkBody)

    def act(note_key: NoteKey) -> str:
        with _as_asked(job_id):
            return fork_job(
                get_backend(), job_id, body, caller=current_caller(), now=utc_now(), note_key=note_key,
                traceparent=current_traceparent(),
            )  # fmt: skip

    return answer_once(lambda: body.model_dump(mode="json", exclude_unset=True), act, _answer_fork)


@job_actions.patch("")
@Operation(
    "Change a job",
    "jobs",
    answers={200: Answer("The job", (JobOut,))},
    refusals=(*_REFUSALS, PriorityNotAllowed),
    parameters=(IF_MATCH,),
    bodies={JSON: ChangeBody},
)
def change(job_id: str) -> Response:
    """Change the priority, the name or the labels of a job that is queued or paused.

    What is not given stays as it is. The queue goes by the new priority at once; a worker that takes the job
    in this very moment is faster. `position` in the answer is its new place.
    """
    body = read_body(ChangeBody)
    with _as_asked(job_id) as version:
        actions.change_job(
            get_backend(), job_id, body, caller=current_caller(), now=utc_now(), version=version
        )
    return _answer(job_id)


@job_actions.delete("")
@Operation(
    "Delete a job",
    "jobs",
    answers={204: Answer("It is gone")},
    refusals=(MalformedRequest, NotFound, NotTerminal, StaleJob, DatabaseUnavailable),
    parameters=(IF_MATCH,),
)
def delete(job_id: str) -> Response:
    """Remove a job that has ended: the record, its history and all of its files.

    Its forks stay, and so do the two pictures as long as another job uses them.
    """
    refuse_body()
    with _as_asked(job_id) as version:
        actions.delete_job(get_backend(), job_id, caller=current_caller(), version=version)
    return Response(status=204)


@contextmanager
def _as_asked(job_id: str) -> Iterator[int | None]:
    """Give the version of the job that a change is to be made at; None when the request does not say.

    Raises:
        OtherVersion: when the job is not as the request wants it, or changes meanwhile.
    """
    if not has_conditions(request.environ):
        yield None
        return
    job = _read(job_id)
    require_match(request.environ, quote_etag(job.etag))
    try:
        yield job.version
    except StaleJob:
        raise OtherVersion(quote_etag(_read(job_id).etag)) from None


def _read(job_id: str) -> RenderedJob:
    return read_rendered(get_services(), job_id, caller=current_caller())


def _answer_fork(fork_id: str) -> Response:
    headers = {"Location": job_url(fork_id), "Retry-After": str(_RETRY_SECONDS)}
    return _read(fork_id).answer(status=202, headers=headers)


def _answer(job_id: str) -> Response:
    return _read(job_id).answer()

"""POST /jobs: a job taken in, as JSON with asset ids or with the pictures themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from shared.clock import utc_now
from shared.errors import (
    DatabaseUnavailable,
    FastModelUnavailable,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InsufficientMemory,
    InvalidOptions,
    MalformedRequest,
    MissingPart,
    NotFound,
    PictureRefused,
    PictureTooHeavy,
    PictureUnsupported,
    PriorityNotAllowed,
    SizeNotAllowed,
    StorageFull,
    StorageUnavailable,
    TooManyBytes,
    TooManyDrafts,
    TooManyJobs,
    UploadsUnavailable,
    WebhookRefused,
    WebhookSecretMissing,
)
from shared.status import JobKind
from shared.texts import field_schemas, read_texts
from web.api.http import (
    BODY,
    MULTIPART,
    check_values,
    file_part,
    json_answer,
    parse_json,
    read_query,
    receive_upload,
    refuse_unknown,
    text_part,
    wait_seconds,
)
from web.api.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADER, answer_once
from web.api.job_view import job_url
from web.api.job_waits import answer_when_final
from web.api.openapi import (
    JSON,
    WAIT,
    Answer,
    Operation,
    binary_schema,
    query_parameters,
    text_schema,
)
from web.api.rendered_jobs import RenderedJob, read_rendered, render_added
from web.api.schemas import JobOut, NeededMemoryOut, SizeOut, ValidationOut, WorkingSizesOut, estimate_out
from web.assets.uploads import PartChecks, UploadedFile
from web.jobs.drafts import read_options
from web.jobs.fields import SubmitBody, SubmitFields
from web.jobs.idempotency import NoteKey
from web.jobs.line import make_forecast
from web.jobs.submission import PARTS, JobRequest, KnownAsset, NewPicture, WrittenJob, check, submit
from web.security import current_caller, current_traceparent
from web.services import Services, get_services

_MAX_JSON_BYTES = 1_000_000
_RETRY_SECONDS = 1
_HASHED_BYTES = 1_000_000
_FIELDS = field_schemas(SubmitFields)
#: A part is a text; of a field that is an object, the text is JSON, as that of the options is.
_JSON_FIELDS = tuple(name for name, schema in _FIELDS.items() if schema["type"] == "object")
_TEXT_PARTS = ("options", *_FIELDS)
_FILE = binary_schema("image/*")
_JSON_TEXT = {"type": "string", "contentMediaType": "application/json"}
_PARTS_SCHEMA = {
    "type": "object",
    "required": [*PARTS],
    "properties": {
        **{part: {**_FILE, "description": f"The {part} picture"} for part in PARTS},
        "options": {
            **_JSON_TEXT,
            "description": "How the job is carried out: an object of style options",
            "contentSchema": {"$ref": "#/components/schemas/StyleOptions"},
        },
        **{
            name: {
                **(
                    {**_JSON_TEXT, "contentSchema": text_schema(schema)}
                    if name in _JSON_FIELDS
                    else text_schema(schema)
                ),
                "description": schema["description"],
            }
            for name, schema in _FIELDS.items()
        },
    },
    "additionalProperties": False,
}


class SubmitQuery(BaseModel):
    """What the query of a submission says."""

    model_config = ConfigDict(frozen=True, strict=True)

    validate_only: bool = Field(False, description="`true`: check everything and store nothing")


@dataclass(frozen=True)
class _Asked:
    """A request to make a job, and what was sent of it as JSON or texts."""

    job: JobRequest
    sent: Mapping[str, object]

    def content(self) -> object:
        """Return what tells one request from another: what was sent, and the SHA-256 of each file."""
        files = {part: one.file for part, one in self.job.inputs.items() if isinstance(one, NewPicture)}
        return {"sent": self.sent, "files": {part: _sha256(file) for part, file in files.items()}}


@Operation(
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
        InsufficientMemory,
        FastModelUnavailable,
        IdempotencyKeyInUse,
        IdempotencyKeyReused,
        WebhookRefused,
        WebhookSecretMissing,
        PriorityNotAllowed,
        SizeNotAllowed,
        TooManyJobs,
        TooManyDrafts,
        TooManyBytes,
        StorageFull,
        StorageUnavailable,
        DatabaseUnavailable,
        UploadsUnavailable,
    ),
    parameters=(*query_parameters(SubmitQuery), WAIT, IDEMPOTENCY_KEY),
    bodies={JSON: SubmitBody, MULTIPART: _PARTS_SCHEMA},
)
def submit_job() -> Response:
    """Take a job in. It is kept when the answer is there, whatever happens to Redis or the workers then.

    Send JSON with the ids of two assets, or multipart/form-data with the files `content` and `style` and
    further fields as texts (`options` and `labels` as JSON). With `Prefer: wait=N` the answer comes when the
    job has ended (200), at the latest after N seconds (202). With `validate_only=true` nothing is stored.

    A job with the same pictures and options as one of yours that succeeded is given its result at once (200);
    as one that is queued or running, it waits for that one's result. `reuse: false` computes it anyway.

    A job that no connected worker has the memory for is refused, with the largest `size` that fits. Nothing
    is refused for that while a worker does not say how much it has, or while none is there. One that needs
    the fast method is refused where no connected worker serves it, and one of them says that its machine
    lacks the model.

    A draft (`kind: draft`) with `Prefer: wait=5` answers with the picture's address in one go, as a rule
    within a second or two. `POST /jobs/{id}/keep` makes a job of it.
    """
    services = get_services()
    query = _read_query()
    if request.mimetype == MULTIPART:
        asked = _read_parts(services)
    elif request.is_json:
        asked = _read_json()
    else:
        kind = request.mimetype or "nothing"
        raise UnsupportedMediaType(f"send application/json or multipart/form-data, not {kind}")
    if query.validate_only:
        return json_answer(_validate(services, asked.job).model_dump(mode="json"))
    submission = _Submission(services, asked.job)
    return answer_once(asked.content, submission.act, submission.answer)


class _Submission:
    """A request that makes a job, unless its key has made one before."""

    def __init__(self, services: Services, job: JobRequest) -> None:
        self._services = services
        self._job = job
        self._written: WrittenJob | None = None

    def act(self, note_key: NoteKey) -> str:
        """Add the job, and return its id."""
        backend, uploads = self._services.backend, self._services.uploads
        caller, now = current_caller(), utc_now()
        added = submit(
            backend, uploads, self._job, caller=caller, now=now, note_key=note_key,
            traceparent=current_traceparent(),
        )  # fmt: skip
        self._written = added.written
        return added.job_id

    def answer(self, job_id: str) -> Response:
        """Return the answer for the job with this id."""
        caller, seconds = current_caller(), wait_seconds(request.headers.get("Prefer"))
        if seconds and self._services.waits.take():
            return answer_when_final(self._services, job_id, _answer_for, caller=caller, seconds=seconds)
        if self._written is not None:
            return _answer_for(render_added(self._services, self._written, caller=caller))
        return _answer_for(read_rendered(self._services, job_id, caller=caller))


def _validate(services: Services, job: JobRequest) -> ValidationOut:
    now, priority = utc_now(), job.fields.priority_within(services.backend.settings.max_priority)
    caller = current_caller()
    checked = check(services.backend, services.uploads, job, caller=caller, now=now)
    forecast = make_forecast(
        services.backend, job.options, checked.sizes, now=now, caller=caller, priority=priority
    )
    shown = {part: SizeOut(width=width, height=height) for part, (width, height) in checked.sizes.items()}
    return ValidationOut(
        options=job.options.shown(),
        working_size=WorkingSizesOut(**shown),
        memory=NeededMemoryOut(
            needed_bytes=checked.memory.needed_bytes, available_bytes=checked.memory.available_bytes
        ),
        estimate=estimate_out(forecast),
    )


def _answer_for(job: RenderedJob) -> Response:
    headers = {"Location": job_url(job.job_id)}
    if job.status.is_final:
        return job.answer(headers=headers)
    headers["Retry-After"] = str(_RETRY_SECONDS)
    return job.answer(status=202, headers=headers)


def _read_query() -> SubmitQuery:
    # The one flag for which 1 and 0, and capital letters, are taken too.
    words = {name: text.lower() for name, text in request.args.items()}
    flags = {"1": "true", "0": "false"}
    return read_query(SubmitQuery, {name: flags.get(word, word) for name, word in words.items()})


def _read_json() -> _Asked:
    request.max_content_length = _MAX_JSON_BYTES
    try:
        values = parse_json(request.get_data(cache=False), name=BODY)
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(f"a JSON body may have at most {_MAX_JSON_BYTES / 1e6:g} MB") from None
    if not isinstance(values, dict):
        raise MalformedRequest.at("", "the body must be a JSON object", code="wrong_type")
    refuse_unknown("field", values, known=SubmitBody.model_fields)
    body = check_values(SubmitBody, {**values, "options": {}})
    options = read_options(values.get("options", {}), JobKind(body.kind))
    inputs = {part: KnownAsset(getattr(body, part)) for part in PARTS}
    return _Asked(JobRequest(inputs, options, body), values)


def _read_parts(services: Services) -> _Asked:
    receive_upload(services.backend.settings.picture_limits(), known=(*PARTS, *_TEXT_PARTS))
    texts = {part: text for part in _TEXT_PARTS if (text := text_part(part)) is not None}
    given = {part: text for part, text in texts.items() if text}
    sent_options = parse_json(given.pop("options", "{}"), name="options")
    objects = {part: parse_json(given.pop(part), name=part) for part in _JSON_FIELDS if part in given}
    fields = check_values(SubmitFields, {**read_texts(SubmitFields, given), **objects})
    options = read_options(sent_options, JobKind(fields.kind))
    inputs, checks = {}, PartChecks()
    for part in PARTS:
        with checks.of(part):
            inputs[part] = NewPicture(file_part(part))
    checks.settle()
    return _Asked(JobRequest(inputs, options, fields), texts)


def _sha256(file: UploadedFile) -> str:
    digest = hashlib.sha256()  # whoever takes the picture in begins at its start again
    while data := file.stream.read(_HASHED_BYTES):
        digest.update(data)
    return digest.hexdigest()

"""The view that takes jobs in, as JSON with asset ids or with the pictures themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from flask import Response, request
from pydantic import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from shared.clock import utc_now
from shared.errors import MalformedRequest
from shared.options import parse_options
from web.api.http import (
    body_faults,
    file_part,
    json_answer,
    parse_json,
    receive_upload,
    refuse_unknown,
    text_part,
    wait_seconds,
)
from web.api.idempotency import answer_once
from web.api.job_view import job_answer, read_view, wait_until_final
from web.api.openapi import MULTIPART
from web.api.schemas import SizeOut, ValidationOut, WorkingSizesOut, estimate_out
from web.assets.uploads import PartChecks, UploadedFile
from web.jobs.estimates import make_forecast
from web.jobs.fields import SubmitBody, SubmitFields
from web.jobs.idempotency import NoteKey
from web.jobs.submission import PARTS, JobRequest, KnownAsset, NewPicture, check, submit
from web.security import current_caller
from web.services import Services, get_services

_SCALAR_PARTS = ("queue_timeout_seconds", "run_timeout_seconds", "reuse")
_TEXT_PARTS = ("options", "name", "labels", *_SCALAR_PARTS)
_KNOWN_PARTS = (*PARTS, *_TEXT_PARTS)
_MAX_JSON_BYTES = 1_000_000
_RETRY_SECONDS = 1
_HASHED_BYTES = 1_000_000


@dataclass(frozen=True)
class _Asked:
    """A request to make a job, and what was sent of it as JSON or texts."""

    job: JobRequest
    sent: Mapping[str, object]

    def content(self) -> object:
        """Return what tells one request from another: what was sent, and the SHA-256 of each file."""
        files = {part: one.file for part, one in self.job.inputs.items() if isinstance(one, NewPicture)}
        return {"sent": self.sent, "files": {part: _sha256(file) for part, file in files.items()}}


def submit_job() -> Response:
    """Take a job in. It is kept when the answer is there, whatever happens to Redis or the workers then.

    Send JSON with the ids of two assets, or multipart/form-data with the files `content` and `style` and
    further fields as texts (`options` and `labels` as JSON). With `Prefer: wait=N` the answer comes when the
    job has ended (200), at the latest after N seconds (202). With `validate_only=true` nothing is stored.

    A job with the same pictures and options as one of yours that succeeded is given its result at once (200);
    as one that is queued or running, it waits for that one's result. `reuse: false` computes it anyway.
    """
    services = get_services()
    refuse_unknown("parameter", request.args, known=("validate_only",))
    validate_only = _flag("validate_only")
    if request.mimetype == MULTIPART:
        asked = _read_parts(services)
    elif request.is_json:
        asked = _read_json()
    else:
        kind = request.mimetype or "nothing"
        raise UnsupportedMediaType(f"send application/json or multipart/form-data, not {kind}")
    if validate_only:
        return json_answer(_validate(services, asked.job).model_dump(mode="json"))
    return answer_once(asked.content, partial(_submit, services, asked.job), partial(_accepted, services))


def _submit(services: Services, request: JobRequest, note_key: NoteKey) -> str:
    caller, now = current_caller(), utc_now()
    return submit(services.backend, services.uploads, request, caller=caller, now=now, note_key=note_key)


def _validate(services: Services, job: JobRequest) -> ValidationOut:
    sizes = check(services.backend, services.uploads, job, caller=current_caller())
    shown = {part: SizeOut(width=width, height=height) for part, (width, height) in sizes.items()}
    return ValidationOut(
        options=job.options.model_dump(),
        working_size=WorkingSizesOut(**shown),
        estimate=estimate_out(make_forecast(services.backend, job.options, sizes)),
    )


def _accepted(services: Services, job_id: str) -> Response:
    caller, seconds = current_caller(), wait_seconds(request.headers.get("Prefer"))
    headers = {}
    if seconds and services.waits.take():
        try:
            view = wait_until_final(services, job_id, caller=caller, seconds=seconds)
        finally:
            services.waits.give_back()
        headers["Preference-Applied"] = f"wait={seconds}"
    else:
        view = read_view(services.backend, job_id, caller=caller)
    headers["Location"] = view.data["urls"]["self"]
    if view.job.job_status.is_final:
        return job_answer(view, headers=headers)
    headers["Retry-After"] = str(_RETRY_SECONDS)
    return job_answer(view, status=202, headers=headers)


def _read_json() -> _Asked:
    request.max_content_length = _MAX_JSON_BYTES
    try:
        values = parse_json(request.get_data(cache=False), name="the body")
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(f"a JSON body may have at most {_MAX_JSON_BYTES / 1e6:g} MB") from None
    if not isinstance(values, dict):
        raise MalformedRequest("the body must be a JSON object")
    refuse_unknown("field", values, known=SubmitBody.model_fields)
    options = parse_options(values.get("options", {}))
    try:
        body = SubmitBody.model_validate(values)
    except ValidationError as error:
        raise body_faults(error) from None
    inputs = {part: KnownAsset(getattr(body, part)) for part in PARTS}
    return _Asked(JobRequest(inputs, options, body), values)


def _read_parts(services: Services) -> _Asked:
    receive_upload(services.backend.settings.picture_limits(), known=_KNOWN_PARTS)
    texts = {part: text for part in _TEXT_PARTS if (text := text_part(part)) is not None}
    options = parse_options(parse_json(texts.get("options") or "{}", name="options"))
    values: dict[str, object] = {"labels": parse_json(texts.get("labels") or "{}", name="labels")}
    values |= {part: _scalar(texts[part]) for part in _SCALAR_PARTS if texts.get(part)}
    try:
        fields = SubmitFields.model_validate({"name": texts.get("name"), **values})
    except ValidationError as error:
        raise body_faults(error) from None
    inputs, checks = {}, PartChecks()
    for part in PARTS:
        with checks.of(part):
            inputs[part] = NewPicture(file_part(part))
    checks.settle()
    return _Asked(JobRequest(inputs, options, fields), texts)


def _scalar(text: str) -> object:
    """Return the number, or true or false, that a text says; what is neither stays a text, and is refused."""
    try:
        return parse_json(text, name="a part")
    except MalformedRequest:
        return text


def _sha256(file: UploadedFile) -> str:
    digest = hashlib.sha256()  # whoever takes the picture in begins at its start again
    while data := file.stream.read(_HASHED_BYTES):
        digest.update(data)
    return digest.hexdigest()


def _flag(name: str) -> bool:
    text = request.args.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise MalformedRequest(f"{name} is '{text}'; allowed are true and false")
    return text in ("true", "1")

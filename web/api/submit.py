"""The view that takes jobs in, as JSON with asset ids or with the pictures themselves."""

from __future__ import annotations

from flask import Response, request
from pydantic import ValidationError
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from shared.clock import utc_now
from shared.errors import MalformedRequest
from shared.options import StyleOptions, parse_options
from web.api.answers import json_answer
from web.api.body import body_faults, file_part, parse_json, receive_upload, refuse_unknown, text_part
from web.api.job_answer import job_answer
from web.api.job_view import read_view, wait_until_final
from web.api.prefer import wait_seconds
from web.api.shapes import SizeOut, ValidationOut, WorkingSizesOut
from web.caller import current_caller
from web.docs.operation import MULTIPART
from web.job_fields import JobFields, SubmitBody
from web.services import Services, get_services
from web.submission import (
    PARTS,
    Sizes,
    check_assets,
    check_pictures,
    submit_assets,
    submit_pictures,
)

_KNOWN_PARTS = (*PARTS, "options", "name", "labels")
_MAX_JSON_BYTES = 1_000_000
_RETRY_SECONDS = 1


def submit_job() -> Response:
    """Take a job in. It is kept when the answer is there, whatever happens to Redis or the workers then.

    Send JSON with the ids of two assets, or multipart/form-data with the files `content` and `style` and the
    texts `options`, `name` and `labels` (JSON). With `Prefer: wait=N` the answer comes when the job has
    ended (200), at the latest after N seconds (202). With `validate_only=true` nothing is stored.
    """
    services = get_services()
    refuse_unknown("parameter", request.args, known=("validate_only",))
    validate_only = _flag("validate_only")
    if request.mimetype == MULTIPART:
        outcome = _from_parts(services, validate_only=validate_only)
    elif request.is_json:
        outcome = _from_json(services, validate_only=validate_only)
    else:
        sent = request.mimetype or "nothing"
        raise UnsupportedMediaType(f"send application/json or multipart/form-data, not {sent}")
    if not isinstance(outcome, str):
        return json_answer(outcome.model_dump(mode="json"))
    return _accepted(services, outcome)


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
        view = read_view(services, job_id, caller=caller)
    headers["Location"] = view.data["urls"]["self"]
    if view.job.job_status.is_final:
        return job_answer(view, headers=headers)
    headers["Retry-After"] = str(_RETRY_SECONDS)
    return job_answer(view, status=202, headers=headers)


def _from_json(services: Services, *, validate_only: bool) -> str | ValidationOut:
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
    caller = current_caller()
    if validate_only:
        return _validation(options, check_assets(services, body, options, caller=caller))
    return submit_assets(services, body, options, caller=caller, now=utc_now())


def _from_parts(services: Services, *, validate_only: bool) -> str | ValidationOut:
    receive_upload(services.settings.picture_limits(), known=_KNOWN_PARTS)
    options = parse_options(parse_json(text_part("options") or "{}", name="options"))
    labels = parse_json(text_part("labels") or "{}", name="labels")
    try:
        fields = JobFields.model_validate({"name": text_part("name"), "labels": labels})
    except ValidationError as error:
        raise body_faults(error) from None
    files: dict[str, FileStorage] = {part: file_part(part) for part in PARTS}
    if validate_only:
        return _validation(options, check_pictures(services, files, options))
    return submit_pictures(services, files, fields, options, caller=current_caller(), now=utc_now())


def _validation(options: StyleOptions, sizes: Sizes) -> ValidationOut:
    shown = {part: SizeOut(width=width, height=height) for part, (width, height) in sizes.items()}
    return ValidationOut(options=options.model_dump(), working_size=WorkingSizesOut(**shown))


def _flag(name: str) -> bool:
    text = request.args.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise MalformedRequest(f"{name} is '{text}'; allowed are true and false")
    return text in ("true", "1")

"""Errors as RFC 9457 problems: one table of statuses, one shape, for whatever goes wrong."""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from shared.errors import (
    ArtifactMissing,
    AtelierError,
    CrossSiteRequest,
    FileDamaged,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidOptions,
    InvalidState,
    MalformedRequest,
    MissingPart,
    NotFound,
    NotReady,
    NotTerminal,
    PictureRefused,
    PictureTooHeavy,
    PictureUnsupported,
    Refusal,
    ServiceError,
    StaleJob,
    StorageFull,
    TooManyStreams,
    UnknownHost,
    WorkerTooOld,
)
from shared.logs import get_logger
from web.api.http import json_answer

MEDIA_TYPE = "application/problem+json"
_log = get_logger(__name__)

#: The nearest class in an error's ancestry decides.
STATUSES: dict[type[AtelierError], int] = {
    Refusal: 400,
    MalformedRequest: 400,
    InvalidOptions: 422,
    MissingPart: 422,
    PictureRefused: 422,
    PictureTooHeavy: 413,
    PictureUnsupported: 415,
    NotFound: 404,
    ArtifactMissing: 404,
    FileDamaged: 500,
    InvalidState: 409,
    NotReady: 409,
    WorkerTooOld: 409,
    NotTerminal: 409,
    IdempotencyKeyInUse: 409,
    IdempotencyKeyReused: 422,
    StaleJob: 409,
    CrossSiteRequest: 403,
    UnknownHost: 421,
    TooManyStreams: 429,
    ServiceError: 503,
    StorageFull: 507,
    AtelierError: 500,
}
_RETRY_SECONDS = {429: 10, 503: 5, 507: 60}
#: Of codes whose status does not say so.
_RETRY_SECONDS_OF = {IdempotencyKeyInUse.code: 1}
_HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    412: "precondition_failed",
    413: "request_too_large",
    415: "unsupported_media",
    416: "range_not_satisfiable",
}


def status_of(kind: type[AtelierError]) -> int:
    """Return the HTTP status of a kind of error."""
    return next(STATUSES[known] for known in kind.__mro__ if known in STATUSES)


def known_codes() -> list[tuple[str, int, str]]:
    """Return every code with its status and meaning, sorted."""
    codes = {code: (status, HTTPStatus(status).phrase) for status, code in _HTTP_CODES.items()}
    kinds: list[type[AtelierError]] = [AtelierError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        codes[kind.code] = (status_of(kind), kind.title())
    return sorted((code, status, title) for code, (status, title) in codes.items())


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    suggestion: str | None = None,
) -> Response:
    """Return a problem response; its type leads to the code's entry in the documentation."""
    body: dict[str, object] = {
        "type": f"/docs#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "code": code,
        "errors": errors or [],
    }
    if suggestion:
        body["suggestion"] = suggestion
    headers = {"Cache-Control": "no-store"}
    retry_seconds = _RETRY_SECONDS_OF.get(code) or _RETRY_SECONDS.get(status)
    if retry_seconds:
        headers["Retry-After"] = str(retry_seconds)
    return json_answer(body, status, headers=headers, media_type=MEDIA_TYPE)


def handle_problems(app: Flask) -> None:
    """Let an app answer every error with a problem."""
    app.register_error_handler(AtelierError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(InternalServerError, _answer_internal)


def _answer_error(error: AtelierError) -> Response:
    status = status_of(type(error))
    if status >= 500:
        # A part that is away says all in its detail; only the unexpected needs its traceback.
        is_unexpected = status == 500 and not isinstance(error, FileDamaged)
        _log.error("request_failed", code=error.code, detail=error.detail, exc_info=is_unexpected)
        if is_unexpected:
            return _hidden()
    # A service's own words may hold addresses and passwords: they belong into the log.
    detail = error.detail if error.tells_detail else error.title()
    return problem(
        status,
        error.code,
        error.title(),
        detail,
        errors=[fault.to_json() for fault in error.faults],
        suggestion=error.suggestion,
    )


def _answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return Response(status=status, headers=error.get_headers())
    if status == 404:
        detail = f"there is nothing at {request.path}; the paths are listed at /docs"
    elif isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        detail = f"{request.method} is not possible at {request.path}; allowed are {allowed}"
    else:
        detail = error.description or error.name
    response = problem(status, _HTTP_CODES.get(status, "invalid_request"), error.name, detail)
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


def _answer_internal(_error: InternalServerError) -> Response:
    return _hidden()  # Flask has logged the traceback


def _hidden() -> Response:
    detail = "the service failed at this request; its log has more, under the id in X-Request-Id"
    return problem(500, AtelierError.code, "Internal error", detail)

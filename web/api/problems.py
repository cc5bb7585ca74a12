"""Errors as RFC 9457 problems: one table of statuses, one shape, for whatever goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from shared.errors import (
    ArtifactMissing,
    AtelierError,
    CrossSiteRequest,
    CsrfMissing,
    DirectNotAvailable,
    FastModelUnavailable,
    Fault,
    FileDamaged,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InsufficientMemory,
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
    PriorityNotAllowed,
    Quota,
    RateLimited,
    Refusal,
    ScopeMissing,
    ServiceError,
    SizeNotAllowed,
    StaleJob,
    StorageFull,
    TokenNameTaken,
    TooManyBytes,
    TooManyDrafts,
    TooManyJobs,
    TooManySignIns,
    TooManyStars,
    TooManyStreams,
    TooManyWebhooks,
    Unauthenticated,
    UnknownHost,
    WebhookRefused,
    WebhookSecretMissing,
    WorkerTooOld,
)
from shared.logs import get_logger
from web.access.limits import quota_fields
from web.address import link
from web.api.http import json_answer
from web.security import QUOTA_KEY

MEDIA_TYPE = "application/problem+json"
_log = get_logger(__name__)

#: The nearest class in an error's ancestry decides.
STATUSES: dict[type[AtelierError], int] = {
    Refusal: 400,
    MalformedRequest: 400,
    InvalidOptions: 422,
    InsufficientMemory: 422,
    FastModelUnavailable: 422,
    MissingPart: 422,
    PictureRefused: 422,
    PictureTooHeavy: 413,
    PictureUnsupported: 415,
    NotFound: 404,
    ArtifactMissing: 404,
    FileDamaged: 500,
    InvalidState: 409,
    NotReady: 409,
    DirectNotAvailable: 409,
    WorkerTooOld: 409,
    NotTerminal: 409,
    IdempotencyKeyInUse: 409,
    IdempotencyKeyReused: 422,
    StaleJob: 409,
    Unauthenticated: 401,
    ScopeMissing: 403,
    TokenNameTaken: 409,
    CsrfMissing: 403,
    TooManySignIns: 429,
    CrossSiteRequest: 403,
    UnknownHost: 421,
    RateLimited: 429,
    TooManyStreams: 429,
    TooManyJobs: 429,
    TooManyDrafts: 429,
    TooManyBytes: 403,
    PriorityNotAllowed: 403,
    SizeNotAllowed: 403,
    TooManyStars: 409,
    WebhookRefused: 422,
    WebhookSecretMissing: 422,
    TooManyWebhooks: 409,
    ServiceError: 503,
    StorageFull: 507,
    AtelierError: 500,
}
_RETRY_SECONDS = {429: 10, 503: 5, 507: 60}
#: Of codes whose status does not say so.
_RETRY_SECONDS_OF = {IdempotencyKeyInUse.code: 1}
_HTTP_CODES = {
    404: NotFound.code,
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    412: "precondition_failed",
    413: "request_too_large",
    415: PictureUnsupported.code,
    416: "range_not_satisfiable",
}
#: Of codes that no error of the tree has.
_HTTP_TITLES = {
    "method_not_allowed": "This address does not take the method.",
    "not_acceptable": "The answer cannot be had in the form asked for.",
    "request_timeout": "The request did not come in time.",
    "precondition_failed": "What lies here is not what the request goes on from.",
    "request_too_large": "The request has too many bytes.",
    "range_not_satisfiable": "The file has no such range.",
}


def status_of(kind: type[AtelierError]) -> int:
    """Return the HTTP status of a kind of error."""
    return next(STATUSES[known] for known in kind.__mro__ if known in STATUSES)


def known_codes() -> list[tuple[str, int, str]]:
    """Return every code with its status and meaning, sorted."""
    statuses = {code: status for status, code in _HTTP_CODES.items()} | {
        kind.code: status_of(kind) for kind in _kinds()
    }
    return sorted((code, status, title_of(code)) for code, status in statuses.items())


def title_of(code: str) -> str:
    """Return what a code means, in a sentence: the title of every problem that has it."""
    return _titles()[code]


@cache
def _titles() -> Mapping[str, str]:
    return _HTTP_TITLES | {kind.code: kind.title() for kind in _kinds()}


def _kinds() -> list[type[AtelierError]]:
    kinds: list[type[AtelierError]] = [AtelierError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return kinds


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    suggestion: str | None = None,
    quota: Quota | None = None,
) -> Response:
    """Return a problem response; its type leads to the code's entry in the documentation.

    `quota` is the limit that was met: when it makes sense to ask again.
    """
    body: dict[str, object] = {
        "type": link(f"/docs#{code}"),
        "title": title_of(code),
        "status": status,
        "detail": detail,
        "instance": link(request.path),
        "code": code,
        "errors": errors or [],
    }
    if suggestion:
        body["suggestion"] = suggestion
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Atelier"'
    retry_seconds = _RETRY_SECONDS_OF.get(code) or _RETRY_SECONDS.get(status)
    if quota is not None:
        retry_seconds = quota.seconds
        counted = request.environ.get(QUOTA_KEY)
        headers.update(quota_fields([quota] if counted is None else [quota, counted]))
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
        detail,
        errors=[fault.to_json() for fault in error.faults or _faults_of_path(error)],
        suggestion=error.suggestion,
        quota=error.quota if isinstance(error, Refusal) else None,
    )


def _faults_of_path(error: AtelierError) -> list[Fault]:
    """Return what an error that tells no fault says of the path: that nothing has the one id in it."""
    names = list(request.view_args or ())
    if not isinstance(error, NotFound) or len(names) != 1:
        return []
    return [Fault(f"/{names[0]}", error.code, error.detail)]


def _answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return Response(status=status, headers=error.get_headers())
    if status == 404:
        detail = f"there is nothing at {link(request.path)}; the paths are listed at {link('/docs')}"
    elif isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        detail = f"{request.method} is not possible at {link(request.path)}; allowed are {allowed}"
    else:
        detail = error.description or error.name
    usual = MalformedRequest.code if status < 500 else AtelierError.code
    response = problem(status, _HTTP_CODES.get(status, usual), detail)
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


def _answer_internal(_error: InternalServerError) -> Response:
    return _hidden()  # Flask has logged the traceback


def _hidden() -> Response:
    detail = "the service failed at this request; its log has more, under the id in X-Request-Id"
    return problem(500, AtelierError.code, detail)

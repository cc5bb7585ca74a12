"""The header ``Idempotency-Key``: a request that is repeated with its key is carried out once.

What a key was used for is written in the very transaction that does it, so that both are there or neither,
however this process ends. Only what was done is kept: a refused request may be mended and sent with the same
key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from flask import Response, request
from sqlalchemy.orm import Session

from shared.clock import utc_now
from shared.errors import (
    DatabaseUnavailable,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    MalformedRequest,
)
from shared.logs import get_logger
from web.api.openapi import Parameter
from web.jobs.idempotency import FirstAnswer, KeptKey, NoteKey, add_key, complete_key, find_key, note_no_key
from web.later import Waiting, when_answered
from web.security import current_caller
from web.services import Services, get_services

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
IDEMPOTENCY_KEY = Parameter(
    HEADER,
    "1 to 255 printable ASCII characters of your choice, such as a UUID. Kept for 24 hours after a request "
    "that was accepted: the same request with the same key is not carried out again, but answered as it was",
    "header",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
REPLAYED_HEADER = {REPLAYED: "`true`: this is the first answer to a request that was repeated"}

_KEY = re.compile(r"[ -~]{1,255}")
_KEPT_HEADERS = ("Location", "Retry-After", "ETag")
_log = get_logger(__name__)


def answer_once(
    content: Callable[[], object], act: Callable[[NoteKey], str], answer: Callable[[str], Response]
) -> Response:
    """Carry out a request, once for each key.

    Args:
        content: Returns what the body says, as JSON has it: two requests are the same if this, method, path
            and query are.
        act: Does what is asked for and returns the id of the job it made or changed. It is given what notes
            the key, to be called in the same transaction.
        answer: Returns the answer for the job with this id.

    Raises:
        MalformedRequest: when the key is not of the right form.
        IdempotencyKeyInUse: while the first request with the key is being answered.
        IdempotencyKeyReused: when the key came with another request before.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return answer(act(note_no_key))
    if not _KEY.fullmatch(key):
        detail = f"{HEADER} has {len(key)} characters; allowed are 1 to 255, all of them printable ASCII"
        raise MalformedRequest.at(f"/{HEADER}", detail)
    services, caller, digest = get_services(), current_caller(), _digest(content())
    with ExitStack() as in_flight:
        in_flight.enter_context(services.keys_in_flight.hold(caller, key))
        kept = _find(services, caller, key)
        if kept is None:
            try:
                job_id = act(_note(caller, key, digest))
                return _keep(_first_answer(services, caller, key, job_id, answer), in_flight)
            except IdempotencyKeyInUse:
                # Of another process, then, which has committed: what was done here is undone.
                kept = _find(services, caller, key)
                if kept is None:
                    raise
        if kept.request_sha256 != digest:
            detail = "this key came with another request before; take a new key for a new request"
            raise IdempotencyKeyReused.at(f"/{HEADER}", detail, code=IdempotencyKeyReused.code)
        response = (
            _first_answer(services, caller, key, kept.job_id, answer)
            if kept.answer is None
            else _replay(kept.answer)
        )
        _log.info("request_replayed", job_id=kept.job_id)
        return _keep(when_answered(response, _say_replayed), in_flight)


def _keep(response: Response, in_flight: ExitStack) -> Response:
    """Hold the key on for an answer that is waited for."""
    if isinstance(response, Waiting):
        response.wait.closers.append(in_flight.pop_all().close)
    return response


def _say_replayed(response: Response) -> Response:
    response.headers[REPLAYED] = "true"
    return response


def _digest(content: object) -> str:
    asked = [request.method, request.path, sorted(request.args.items(multi=True)), content]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _find(services: Services, caller: str, key: str) -> KeptKey | None:
    with services.backend.database.read() as session:
        return find_key(session, caller, key, now=utc_now())


def _note(caller: str, key: str, digest: str) -> NoteKey:
    def note(session: Session, job_id: str) -> None:
        add_key(session, caller, key, request_sha256=digest, job_id=job_id, now=utc_now())

    return note


def _first_answer(
    services: Services, caller: str, key: str, job_id: str, answer: Callable[[str], Response]
) -> Response:
    """Answer for a job, and keep that for those who ask again."""
    return when_answered(answer(job_id), partial(_keep_first, services, caller, key, job_id))


def _keep_first(services: Services, caller: str, key: str, job_id: str, response: Response) -> Response:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    first = FirstAnswer(response.status_code, headers, response.get_data(as_text=True))
    try:
        with services.backend.database.write() as session:
            complete_key(session, caller, key, job_id=job_id, answer=first)
    except DatabaseUnavailable as error:
        # What was done is done, and the key is beside it: a repeat is answered for the job as it is then.
        _log.warning("answer_not_kept", job_id=job_id, detail=error.detail)
    return response


def _replay(first: FirstAnswer) -> Response:
    response = Response(first.body, status=first.status, content_type="application/json")
    response.headers["Cache-Control"] = "no-cache"
    response.headers.update(first.headers)
    return response

"""The view of a caller's limits: what is allowed, and how much of it is used."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from shared.errors import DatabaseUnavailable
from shared.redis.rates import WINDOW_SECONDS
from web.access.limits import CallerLimits, count_open_drafts, count_open_jobs, picture_bytes
from web.access.tokens import Access
from web.api import API_PATH
from web.api.events import most_streams
from web.api.http import json_answer
from web.api.openapi import Answer, Operation
from web.security import current_access
from web.services import Services, get_services

#: What is limited for each caller, in the order in which it is told.
LimitName = Literal["requests", "streams", "jobs", "drafts", "stored_bytes", "size_px", "priority"]
#: All jobs are counted for whoever asks, however many there may be.
_ALL = 2**53
limits = Blueprint("limits", __name__, url_prefix=API_PATH)


class LimitOut(BaseModel):
    """One limit, and what is used of it."""

    name: LimitName = Field(
        description="`requests` within a minute, open event `streams`, `jobs` that are queued or running "
        "(drafts among them), `drafts` under way, `stored_bytes` of pictures and results, the largest "
        "size of a job in pixels, `size_px`, and the highest `priority` of a job"
    )
    limit: int | None = Field(description="The most that is allowed; `null` is no limit")
    used: int | None = Field(description="How much of it is used; `null` where that is not counted")
    window_seconds: int | None = Field(
        description="So many are allowed in each span of so many seconds; `null`: at once"
    )


class LimitsOut(BaseModel):
    """The limits of a caller."""

    caller: str
    limits: list[LimitOut]


@limits.get("/limits")
@Operation(
    "Tell your limits",
    "tokens",
    answers={200: Answer("What you may use, and what you use of it", (LimitsOut,))},
    refusals=(DatabaseUnavailable,),
)
def read_limits() -> Response:
    """Tell the limits that hold for you, and how much of each is used. This request counts, too."""
    access = current_access()
    found = LimitsOut(caller=access.caller, limits=_read(get_services(), access))
    answer = json_answer(found.model_dump(mode="json"))
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _read(services: Services, access: Access) -> list[LimitOut]:
    caller, backend = access.caller, services.backend
    allowed = backend.limits_of(caller, adds_bytes=True)
    with backend.database.read() as session:
        jobs = count_open_jobs(session, caller, most=_ALL)
        drafts = count_open_drafts(session, caller)
        stored = picture_bytes(session, caller) + allowed.results
    return [
        _requests(services, access),
        _at_once("streams", most_streams(services, access), services.own_streams.taken(caller)),
        *_counted(allowed, jobs=jobs, drafts=drafts, stored=stored),
        _at_once("size_px", backend.settings.max_size_px, None),
        LimitOut(name="priority", limit=backend.settings.max_priority, used=None, window_seconds=None),
    ]


def _requests(services: Services, access: Access) -> LimitOut:
    quota = services.rates.find_quota(access)
    if quota is None:
        return LimitOut(name="requests", limit=None, used=None, window_seconds=WINDOW_SECONDS)
    used = quota.most - quota.left
    return LimitOut(name="requests", limit=quota.most, used=used, window_seconds=WINDOW_SECONDS)


def _counted(allowed: CallerLimits, *, jobs: int, drafts: int, stored: int) -> list[LimitOut]:
    # Where nothing limits the bytes, those of the results are not counted either.
    used = stored if allowed.max_stored_bytes else None
    return [
        _at_once("jobs", allowed.max_jobs, jobs),
        _at_once("drafts", allowed.max_drafts, drafts),
        _at_once("stored_bytes", allowed.max_stored_bytes, used),
    ]


def _at_once(name: LimitName, most: int, used: int | None) -> LimitOut:
    return LimitOut(name=name, limit=most or None, used=used, window_seconds=None)

"""The draft on the page of a job: whether there is one, what is said in its place, and asking for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from shared.broker import FAST_ROUTE
from shared.errors import InvalidOptions, InvalidState
from shared.status import JobKind, JobStatus
from web.backend import Backend
from web.db.models import Job
from web.jobs.drafts import find_draft, options_for_draft, read_options
from web.jobs.fields import SubmitFields
from web.jobs.line import read_shared_queue
from web.jobs.submission import JobRequest, KnownAsset, submit
from web.pages.job_stage import draft_url_of
from web.services import Services
from web.words import sentence

#: `offered` is one that can be made, `none` one that cannot: nobody makes any now.
DraftState = Literal["made", "making", "failed", "offered", "none"]
_WORDS: Mapping[DraftState, str] = {
    "making": "Making the draft …",
    "offered": "There is no draft of these pictures.",
}


@dataclass(frozen=True)
class PageDraft:
    """The draft of a job's pictures, as the job's page has it."""

    state: DraftState = "none"
    #: Where its picture is, if there is one.
    url: str | None = None
    #: What is said in its place.
    words: str = ""
    #: What a script asks for to have one, as JSON: the assets of both parts, and the options. Empty: nothing.
    wish: str = ""

    @property
    def is_offered(self) -> bool:
        """Whether the page has the view of it."""
        return self.state != "none"

    @property
    def may_be_asked_for(self) -> bool:
        """Whether somebody may ask for it by a button."""
        return self.state in ("offered", "failed")


def read_draft(backend: Backend, job: Job, found: Job | None) -> PageDraft:
    """Return the draft on the page of a job; `found` is what `find_draft` found.

    Raises:
        DatabaseUnavailable: when the database cannot be asked.
    """
    wish = _wish(job)
    return decide_draft(found, wish, why_none=lambda: read_shared_queue(backend, FAST_ROUTE).no_start)


def decide_draft(found: Job | None, wish: str, *, why_none: Callable[[], str | None]) -> PageDraft:
    """Decide what the page of a job has of a draft.

    Args:
        found: The fast job of the same pictures, if there is one; it has neither expired nor been canceled.
        wish: What a script asks for to have one; empty for a job that has none beside it.
        why_none: Tells why no fast job can start now, None where one can. Asked only where that matters.
    """
    if not wish:
        return PageDraft()
    if found is not None and found.job_status is JobStatus.SUCCEEDED and found.outputs:
        return PageDraft("made", draft_url_of(found.id, found.outputs[0]["sha256"]), wish=wish)
    reason = why_none()
    if found is not None and not found.job_status.is_final:
        return PageDraft("making", words=sentence(reason) if reason else _WORDS["making"], wish=wish)
    if reason is not None:
        return PageDraft(wish=wish)
    if found is not None and found.job_status is JobStatus.FAILED:
        return PageDraft("failed", words=_why_failed(found.error), wish=wish)
    return PageDraft("offered", words=_WORDS["offered"], wish=wish)


def make_draft(services: Services, job: Job, *, caller: str, now: datetime) -> None:
    """Have a draft made of a job's pictures, unless there is one, or one is under way.

    Raises:
        InvalidState: for a fast job, which is as quick itself.
        InvalidOptions: when its options cannot be read.
        Other errors as `submit` does.
    """
    if job.route == FAST_ROUTE:
        raise InvalidState("the job is made by the method 'fast' itself: there is no draft beside it")
    with services.backend.database.read() as session:
        found = find_draft(session, job)
    if found is not None and found.job_status is not JobStatus.FAILED:
        return
    options = read_options(options_for_draft(job.options), JobKind.DRAFT)
    inputs = {part: KnownAsset(asset_id) for part, asset_id in _assets(job).items()}
    fields = SubmitFields(kind=JobKind.DRAFT.value)
    request = JobRequest(inputs, options, fields)
    submit(services.backend, services.uploads, request, caller=caller, now=now)


def _assets(job: Job) -> dict[str, str]:
    return {"content": job.content_asset_id, "style": job.style_asset_id}


def _wish(job: Job) -> str:
    if job.route == FAST_ROUTE:
        return ""
    try:
        options = options_for_draft(job.options)
    except InvalidOptions:
        return ""  # of a job that cannot be read: its page says so, and has no draft
    return json.dumps({"pictures": _assets(job), "options": options})


def _why_failed(error: Mapping[str, Any] | None) -> str:
    return sentence(str((error or {}).get("title") or "The draft failed"))

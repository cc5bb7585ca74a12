"""Drafts: quick looks at what two pictures give, which replace each other, and go unless they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.broker import FAST_ROUTE
from shared.errors import InvalidOptions, InvalidState, NotFound, StaleJob
from shared.options import Method, StyleOptions, known_options, parse_options, read_stored_options
from shared.status import JobKind, JobStatus
from web.backend import Backend
from web.db.models import Job
from web.jobs.actions import cancel_job

#: What ended like this does not tell whether there can be a draft: nobody wanted it any more, or took it.
_PASSED_OVER = (JobStatus.CANCELED.value, JobStatus.EXPIRED.value)
#: Of more drafts of the same pictures the older ones are not looked at.
_MOST_DRAFTS = 50


def read_options(sent: object, kind: JobKind) -> StyleOptions:
    """Return the options of a job of a kind: a draft's method is `fast`.

    Raises:
        InvalidOptions: naming every option that is refused.
    """
    if kind is not JobKind.DRAFT or not isinstance(sent, Mapping):
        return parse_options(sent)
    options = parse_options({"method": Method.FAST.value, **sent})
    if options.method != Method.FAST.value:
        detail = f"method is '{options.method}'; a draft is made by 'fast'. Submit a job for any other"
        raise InvalidOptions.at("/options/method", detail, code="invalid_combination")
    return options


def cancel_replaced(backend: Backend, draft_id: str, *, caller: str, now: datetime) -> None:
    """Cancel a caller's draft that another one replaces, if it is still under way.

    Another job of that id is left alone: only drafts are replaced.
    """
    with backend.database.read() as session:
        job = session.get(Job, draft_id)
        if job is None or job.caller != caller or job.kind != JobKind.DRAFT.value:
            return
    # It may have ended in this very moment, which is as good.
    with suppress(NotFound, InvalidState, StaleJob):
        cancel_job(backend, draft_id, caller=caller, now=now)


def options_for_draft(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a job's stored options that a draft of its pictures takes over.

    Strength and detail are among them where the job starts from what the fast method makes.

    Raises:
        InvalidOptions: when they cannot be read.
    """
    taken = known_options(Method.FAST) - {"method"}
    return {name: value for name, value in read_stored_options(stored).shown().items() if name in taken}


def find_draft(session: Session, job: Job) -> Job | None:
    """Return the newest fast job with a job's pictures and caller that succeeded; a fast one has none.

    Where none did, the newest one that is under way or has failed. A job that starts from the draft has only
    what it starts from: one of its strength and detail.
    """
    if job.route == FAST_ROUTE:
        return None
    query = select(Job).where(
        Job.content_asset_id == job.content_asset_id,
        Job.style_asset_id == job.style_asset_id,
        Job.caller == job.caller,
        Job.route == FAST_ROUTE,
        Job.status.not_in(_PASSED_OVER),
    )
    succeeded_first = (Job.status == JobStatus.SUCCEEDED.value).desc()
    found = session.scalars(query.order_by(succeeded_first, Job.id.desc()).limit(_MOST_DRAFTS))
    if job.options.get("init") != Method.FAST.value:
        return next(iter(found), None)
    start = _start_of(job)
    return next((draft for draft in found if _start_of(draft) == start), None)


def _start_of(job: Job) -> tuple[float, int] | None:
    """Return strength and detail of a draft, or of a job that starts from one; None: they cannot be read."""
    try:
        told = read_stored_options(job.options)
    except InvalidOptions:
        return None
    return told.style_strength, told.detail

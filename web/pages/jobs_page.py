"""The page 'Jobs': a gallery with filters."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from shared.clock import utc_now
from shared.errors import MalformedRequest
from web.api import API_PATH
from web.api.job_query import COUNTS, read_filter
from web.api.job_query import PAGE_SIZE as PAGE_SIZE_NAME
from web.api.job_view import JobView, read_views
from web.api.page_token import make_token, read_token
from web.caller import current_caller
from web.pages.gallery import (
    PAGE_SIZE,
    filter_query,
    is_filtered,
    label_choices,
    page_url,
    status_choices,
)
from web.pages.job_card import JobCard, job_card
from web.pages.shell import page
from web.repository.jobs import JobFilter, count_by_status, list_jobs
from web.services import get_services

jobs_page = Blueprint("jobs_page", __name__)


@jobs_page.get("/")
def index() -> Response:
    """Show the page."""
    # A form sends its empty fields, too.
    given = MultiDict((name, text.strip()) for name, text in request.args.items(multi=True) if text.strip())
    try:
        only = read_filter(given)
    except MalformedRequest as error:
        return _refusal(given, error)
    token, newer_than = given.get("page_token"), given.get("newer_than")
    shown, older_than, has_older = _read_page(only, read_token(token, only) if token else None, newer_than)
    return _show(only, shown, older_than=older_than, has_older=has_older)


def _read_page(
    only: JobFilter, before_id: str | None, newer_than: str | None
) -> tuple[list[JobView], str | None, bool]:
    """Return the jobs of a page, the job that all of them are older than, and whether there are more."""
    if newer_than is not None:
        views = _read(only, after_id=newer_than)
        if len(views) > PAGE_SIZE:
            return views[1:], views[0].job.id, True
        # There are not that many newer ones: it is the first page, and shown whole.
    views = _read(only, before_id=before_id if newer_than is None else None)
    return views[:PAGE_SIZE], before_id if newer_than is None else None, len(views) > PAGE_SIZE


def _read(only: JobFilter, *, before_id: str | None = None, after_id: str | None = None) -> list[JobView]:
    caller = current_caller()
    return read_views(
        get_services(),
        lambda session: list_jobs(
            session, caller=caller, only=only, before_id=before_id, after_id=after_id, limit=PAGE_SIZE + 1
        ),
    )


def _show(only: JobFilter, views: list[JobView], *, older_than: str | None, has_older: bool) -> Response:
    now = utc_now()
    with get_services().database.read() as session:
        counts = count_by_status(session, caller=current_caller(), only=only)
    first_id, last_id = (views[0].job.id, views[-1].job.id) if views else (None, None)
    token = make_token(older_than, only) if older_than else None
    query = [*filter_query(only), (PAGE_SIZE_NAME, str(PAGE_SIZE)), (COUNTS, "true")]
    query += [("page_token", token)] if token else []
    return page(
        "jobs.html",
        cards=[job_card(view.data, now) for view in views],
        blank=JobCard(),
        only=only,
        is_filtered=is_filtered(only),
        choices=status_choices(only, counts),
        labels=label_choices(only),
        total=sum(counts.values()),
        is_changing=any(not view.job.job_status.is_final for view in views),
        is_first_page=older_than is None,
        list_url=f"{API_PATH}/jobs?{urlencode(query)}",
        newer_url=page_url(only, newer_than=first_id) if older_than else None,
        older_url=page_url(only, page_token=make_token(last_id, only)) if has_older and last_id else None,
        fault=None,
        given={},
    )


def _refusal(given: MultiDict[str, str], error: MalformedRequest) -> Response:
    """Show what is wrong with a filter beside its field, with what was given."""
    only = JobFilter()
    field = error.detail.split(" ", 1)[0]
    return page(
        "jobs.html",
        status=400,
        cards=[],
        blank=JobCard(),
        only=only,
        is_filtered=True,
        choices=status_choices(only, {}),
        labels=[],
        total=0,
        is_changing=False,
        is_first_page=True,
        list_url=None,
        newer_url=None,
        older_url=None,
        fault={"field": field if field in ("name", "label") else "status", "detail": error.detail},
        given=given,
    )

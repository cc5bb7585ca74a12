"""The gallery: jobs as cards, with filters and pages; the cards alone, too, for a page that is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from shared.clock import from_rfc3339, utc_now
from shared.errors import MalformedRequest
from shared.status import JobStatus
from web.access.tokens import Scope
from web.address import link
from web.api.http import make_token, read_token
from web.api.job_view import JobView, read_views
from web.api.jobs import read_filter
from web.jobs.leaving import list_callers
from web.jobs.lists import JobFilter, list_jobs
from web.jobs.queries import get_jobs
from web.pages.job_text import job_line, job_name
from web.pages.layout import page, parts
from web.security import current_asker, current_caller
from web.services import get_backend, get_services
from web.words import ago, said

PATH = "/"
#: Where the cards are drawn alone; with the parameters of the page, or with the ids of single jobs.
PARTS_PATH = "/parts/jobs"
#: Full rows of two, three, four and six cards.
PAGE_SIZE = 24
#: Labels of a card; a job may have sixteen.
_MOST_LABELS = 3
#: A card shows how far these are.
_UNDER_WAY = {"running", "canceling", "paused"}
#: Those that everyone looks for; the others are offered when there are some.
_ALWAYS_OFFERED = (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.FAILED)
_ORDER = (
    JobStatus.RUNNING,
    JobStatus.QUEUED,
    JobStatus.PAUSED,
    JobStatus.SUCCEEDED,
    JobStatus.FAILED,
    JobStatus.CANCELING,
    JobStatus.CANCELED,
    JobStatus.EXPIRED,
)
jobs_page = Blueprint("jobs_page", __name__)


@dataclass(frozen=True)
class JobCard:
    """What one card shows; `progress` is 0 to 1, or nothing; labels come with where they lead."""

    id: str
    url: str
    name: str
    status: str
    is_final: bool
    line: str
    suggestion: str
    progress: float | None
    thumbnail: str
    created_at: str
    age: str
    labels: tuple[tuple[str, str], ...]
    #: How many labels there are beside these.
    further_labels: int
    notice: str


def job_card(job: Mapping[str, Any], now: datetime | None, *, whose: str | None = None) -> JobCard:
    """Return the card of a job, which is as the API shows it; without `now` its age is left open.

    Its labels lead to the jobs with them of the same caller: of `whose`, or of who looks. A page that is open
    lets ages grow by itself: what it asks for then changes only when a job does.
    """
    error = job["error"] if job["status"] in ("failed", "expired") else None
    labels = [f"{key}:{value}" for key, value in job["labels"].items()]
    return JobCard(
        id=job["id"],
        url=link(f"/jobs/{job['id']}"),
        name=job_name(job),
        status=job["status"],
        is_final=JobStatus(job["status"]).is_final,
        line=_short(job_line(job)) if job["status"] == "queued" and not job["leader_id"] else job_line(job),
        suggestion=(error and error["suggestion"]) or "",
        progress=job["progress"]["value"] if job["status"] in _UNDER_WAY else None,
        thumbnail=job["urls"]["thumbnail"],
        created_at=job["created_at"],
        age=ago(from_rfc3339(job["created_at"]), now) if now else "",
        labels=tuple(
            (label, f"{PATH}?{urlencode({'label': label} | ({'caller': whose} if whose else {}))}")
            for label in labels[:_MOST_LABELS]
        ),
        further_labels=max(0, len(labels) - _MOST_LABELS),
        notice=(job.get("weights") or {}).get("notice") or "",
    )


def _short(line: str) -> str:
    """Return why a job waits, without what to do about it: that would be on each card of a page."""
    return line.partition("; ")[0]


@dataclass(frozen=True)
class StatusChoice:
    """One status to choose, or all (no status); with how many jobs there are."""

    status: JobStatus | None
    count: int
    url: str
    is_chosen: bool
    is_offered: bool


@dataclass(frozen=True)
class CallerChoice:
    """Whose jobs may be looked at; without a `name` it is those of who looks."""

    name: str
    title: str
    is_chosen: bool


def caller_choices(known: Sequence[str], *, own: str, whose: str | None) -> list[CallerChoice]:
    """Return the callers to choose from: oneself, then the others by name, also one who has nothing."""
    others = sorted({*known, *([whose] if whose else [])} - {own})
    return [
        CallerChoice("", f"me ({own})", whose is None),
        *(CallerChoice(name, name, name == whose) for name in others),
    ]


def status_choices(
    only: JobFilter, counts: Mapping[JobStatus, int], *, whose: str | None = None
) -> list[StatusChoice]:
    """Return all statuses to choose from, in the order of the page; each keeps the other filters."""
    everything = StatusChoice(
        None,
        sum(counts.values()),
        page_url(replace(only, statuses=()), caller=whose),
        not only.statuses,
        is_offered=True,
    )
    return [
        everything,
        *(
            StatusChoice(
                status,
                counts.get(status, 0),
                page_url(replace(only, statuses=(status,)), caller=whose),
                status in only.statuses,
                is_offered=status in _ALWAYS_OFFERED or status in only.statuses or counts.get(status, 0) > 0,
            )
            for status in _ORDER
        ),
    ]


def page_url(only: JobFilter, **more: str | None) -> str:
    """Return the address of the page with these filters; `more` are further parameters, None is none."""
    return _address(PATH, only, more)


def _address(path: str, only: JobFilter, more: Mapping[str, str | None]) -> str:
    query = filter_query(only) + [(name, value) for name, value in more.items() if value is not None]
    return link(f"{path}?{urlencode(query)}" if query else path)


def filter_query(only: JobFilter) -> list[tuple[str, str]]:
    """Return a filter as the parameters that `read_filter` reads."""
    query = [("status", status.value) for status in only.statuses]
    query += [("label", f"{key}:{value}") for key, value in only.labels.items()]
    query += [("name", only.name)] if only.name else []
    query += [("id_prefix", only.id_prefix)] if only.id_prefix else []
    query += [("batch_id", only.batch_id)] if only.batch_id else []
    if only.created_after:
        query.append(("created_after", only.created_after.isoformat()))
    return query


def is_filtered(only: JobFilter) -> bool:
    """Whether a filter leaves anything out."""
    return bool(filter_query(only))


def label_choices(only: JobFilter, *, whose: str | None = None) -> list[tuple[str, str]]:
    """Return each label that is asked for, as key:value, with the address of the page without it."""
    return [
        (
            f"{key}:{value}",
            page_url(
                replace(only, labels={name: text for name, text in only.labels.items() if name != key}),
                caller=whose,
            ),
        )
        for key, value in only.labels.items()
    ]


@jobs_page.get(PATH)
def index() -> Response:
    """Show the page."""
    given = _given()
    try:
        only = read_filter(given)
    except MalformedRequest as error:
        return _refusal(given, error)
    return page("jobs.html", **_values(only, given, now=utc_now()))


@jobs_page.get(PARTS_PATH)
def draw_parts() -> Response:
    """Draw anew what a page that is open shows of jobs: its cards and counts, or the cards of single jobs."""
    given = _given()
    if ids := given.getlist("id"):
        cards = [job_card(view.data, None, whose=_whose()) for view in _read_singly(ids)]
        return parts("parts/gallery.html", cards=cards)
    return parts(
        "parts/status_choices.html", "parts/gallery.html", **_values(read_filter(given), given, now=None)
    )


def _whose() -> str | None:
    """Return whose jobs are looked at; None for one's own."""
    caller = current_caller()
    return None if caller == current_asker().caller else caller


def _callers() -> list[CallerChoice]:
    """Return the callers to choose from, for who has signed in and may look at everybody's; else none."""
    asker = current_asker()
    if asker.csrf_token is None or not asker.allows(Scope.MANAGE):
        return []
    with get_backend().database.read() as session:
        known = list_callers(session)
    return caller_choices(known, own=asker.caller, whose=_whose())


def _given() -> MultiDict[str, str]:
    # A form sends its empty fields, too.
    return MultiDict((name, text.strip()) for name, text in request.args.items(multi=True) if text.strip())


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
        get_backend(),
        lambda session: list_jobs(
            session, caller=caller, only=only, before_id=before_id, after_id=after_id, limit=PAGE_SIZE + 1
        ),
    )


def _read_singly(ids: list[str]) -> list[JobView]:
    """Return those of the caller's jobs that are there.

    Raises:
        MalformedRequest: when there are more than a page has: what was left out would seem to be deleted.
    """
    if len(ids) > PAGE_SIZE:
        raise MalformedRequest(f"id is given {len(ids)} times; at most {PAGE_SIZE} jobs are shown at once")
    caller = current_caller()
    return read_views(
        get_backend(),
        lambda session: [job for job in get_jobs(session, ids).values() if job.caller == caller],
    )


def _values(only: JobFilter, given: MultiDict[str, str], *, now: datetime | None) -> dict[str, Any]:
    """Return what the templates show; without `now` the ages of jobs are left open."""
    token, newer_than = given.get("page_token"), given.get("newer_than")
    views, older_than, has_older = _read_page(only, read_token(token, only) if token else None, newer_than)
    counts, whose = _count(only), _whose()
    first_id, last_id = (views[0].job.id, views[-1].job.id) if views else (None, None)
    here = {"caller": whose, "page_token": make_token(older_than, only) if older_than else None}
    return {
        "cards": [job_card(view.data, now, whose=whose) for view in views],
        "only": only,
        "is_filtered": is_filtered(only),
        "choices": status_choices(only, counts, whose=whose),
        "labels": label_choices(only, whose=whose),
        "whose": whose,
        # Of a page that is open they stay as they were.
        "callers": _callers() if now else [],
        "total": sum(counts.values()),
        "is_changing": any(not view.job.job_status.is_final for view in views),
        "is_first_page": older_than is None,
        "parts_url": _address(PARTS_PATH, only, here),
        "newer_url": page_url(only, caller=whose, newer_than=first_id) if older_than else None,
        "older_url": page_url(only, caller=whose, page_token=make_token(last_id, only))
        if has_older and last_id
        else None,
        "fault": None,
        "given": {},
    }


def _count(only: JobFilter) -> dict[JobStatus, int]:
    services = get_services()
    with services.backend.database.read() as session:
        return services.counts.read(session, caller=current_caller(), only=only)


def _refusal(given: MultiDict[str, str], error: MalformedRequest) -> Response:
    """Show what is wrong with a filter beside its field, with what was given."""
    only = JobFilter()
    pointer = error.faults[0].pointer if error.faults else ""
    field = pointer.removeprefix("/")
    counts, whose = _count(only), _whose()
    return page(
        "jobs.html",
        status=400,
        cards=[],
        only=only,
        is_filtered=True,
        choices=status_choices(only, counts, whose=whose),
        whose=whose,
        callers=_callers(),
        labels=[],
        total=sum(counts.values()),
        is_changing=False,
        is_first_page=True,
        parts_url=None,
        newer_url=None,
        older_url=None,
        fault={
            "field": field if field in ("name", "label") else "status",
            "detail": said(error.detail, pointer, f"The {field}"),
        },
        given=given,
    )

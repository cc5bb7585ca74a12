"""What the page of jobs shows besides the jobs: filters with counts, and the ways to other pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from shared.status import JobStatus
from web.repository.jobs import JobFilter

PATH = "/"
#: Full rows of two, three, four and six cards.
PAGE_SIZE = 24
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


@dataclass(frozen=True)
class StatusChoice:
    """One status to choose, or all (no status); with how many jobs there are."""

    status: JobStatus | None
    count: int
    url: str
    is_chosen: bool
    is_offered: bool


def status_choices(only: JobFilter, counts: Mapping[JobStatus, int]) -> list[StatusChoice]:
    """Return all statuses to choose from, in the order of the page; each keeps the other filters."""
    everything = StatusChoice(
        None, sum(counts.values()), page_url(replace(only, statuses=())), not only.statuses, is_offered=True
    )
    return [
        everything,
        *(
            StatusChoice(
                status,
                counts.get(status, 0),
                page_url(replace(only, statuses=(status,))),
                status in only.statuses,
                is_offered=status in _ALWAYS_OFFERED or status in only.statuses or counts.get(status, 0) > 0,
            )
            for status in _ORDER
        ),
    ]


def page_url(only: JobFilter, **more: str | None) -> str:
    """Return the address of the page with these filters; `more` are further parameters, None is none."""
    query = filter_query(only) + [(name, value) for name, value in more.items() if value is not None]
    return f"{PATH}?{urlencode(query)}" if query else PATH


def filter_query(only: JobFilter) -> list[tuple[str, str]]:
    """Return a filter as the parameters that `read_filter` reads."""
    query = [("status", status.value) for status in only.statuses]
    query += [("label", f"{key}:{value}") for key, value in only.labels.items()]
    query += [("name", only.name)] if only.name else []
    query += [("batch_id", only.batch_id)] if only.batch_id else []
    if only.created_after:
        query.append(("created_after", only.created_after.isoformat()))
    return query


def is_filtered(only: JobFilter) -> bool:
    """Whether a filter leaves anything out."""
    return bool(filter_query(only))


def label_choices(only: JobFilter) -> list[tuple[str, str]]:
    """Return each label that is asked for, as key:value, with the address of the page without it."""
    return [
        (
            f"{key}:{value}",
            page_url(replace(only, labels={name: text for name, text in only.labels.items() if name != key})),
        )
        for key, value in only.labels.items()
    ]

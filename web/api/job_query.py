"""The filters of a list of jobs, read from a query."""

from __future__ import annotations

from datetime import datetime

from werkzeug.datastructures import MultiDict

from shared.clock import from_rfc3339
from shared.errors import MalformedRequest
from shared.status import JobStatus
from web.docs.operation import Parameter
from web.repository.jobs import JobFilter

PAGE_SIZE = "page_size"
COUNTS = "counts"
MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50
PARAMETERS = (
    Parameter(
        "status",
        "Only jobs of this status; several, or separated by commas, mean any of them",
        schema={"type": "array", "items": {"$ref": "#/components/schemas/JobStatus"}},
    ),
    Parameter(
        "label",
        "Only jobs with this label, as key:value; several mean all of them",
        schema={"type": "array", "items": {"type": "string"}},
    ),
    Parameter("name", "Only jobs with this in their name; capital and small letters are alike"),
    Parameter("batch_id", "Only jobs of this batch"),
    Parameter(
        "created_after",
        "Only jobs younger than this moment (RFC 3339)",
        schema={"type": "string", "format": "date-time"},
    ),
    Parameter(
        COUNTS,
        "true: tell as well how many jobs there are of each status, by all filters but the status",
        schema={"type": "boolean", "default": False},
    ),
    Parameter(
        PAGE_SIZE,
        "How many jobs at most",
        schema={"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE},
    ),
    Parameter("page_token", "next_page_token of the page before; goes with the same filters only"),
)


def read_filter(query: MultiDict[str, str]) -> JobFilter:
    """Return the filter in a query.

    Raises:
        MalformedRequest: naming the parameter that cannot be read, and what is allowed.
    """
    moment = query.get("created_after")
    return JobFilter(
        statuses=[_status(word) for text in query.getlist("status") for word in text.split(",") if word],
        labels=_labels(query.getlist("label")),
        batch_id=query.get("batch_id") or None,
        created_after=_moment(moment) if moment else None,
        name=query.get("name", "").strip(),
    )


def page_size(text: str | None) -> int:
    """Return the page size, 50 when none is asked for.

    Raises:
        MalformedRequest: when it is not a number of 1 to 200.
    """
    if text is None:
        return DEFAULT_PAGE_SIZE
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_PAGE_SIZE):
        raise MalformedRequest(f"{PAGE_SIZE} is '{text}'; allowed is 1 to {MAX_PAGE_SIZE}")
    return int(text)


def wants_counts(text: str | None) -> bool:
    """Return whether counts are asked for.

    Raises:
        MalformedRequest: when it is neither true nor false.
    """
    if text not in (None, "true", "false"):
        raise MalformedRequest(f"{COUNTS} is '{text}'; allowed are true and false")
    return text == "true"


def _status(word: str) -> JobStatus:
    try:
        return JobStatus(word.strip())
    except ValueError:
        raise MalformedRequest(f"status is '{word}'; allowed are {', '.join(JobStatus)}") from None


def _labels(texts: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition(":")
        if not (key and separator):
            raise MalformedRequest(f"label is '{text}'; it must be of the form key:value")
        if labels.setdefault(key, value) != value:
            raise MalformedRequest(f"label {key} is asked for with two values; a job has one")
    return labels


def _moment(text: str) -> datetime:
    try:
        return from_rfc3339(text)
    except (ValueError, OverflowError):
        raise MalformedRequest(
            f"created_after is '{text}'; it must be like 2026-11-23T08:47:41Z (a + in a query is written %2B)"
        ) from None

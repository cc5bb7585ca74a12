"""The gallery's view models: choices with counts, addresses that keep filters, what a card says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from werkzeug.datastructures import MultiDict

from shared.status import JobStatus
from web.api.jobs import read_filter
from web.jobs.lists import JobFilter
from web.pages.gallery import filter_query, is_filtered, job_card, label_choices, page_url, status_choices
from web.pages.job_text import job_line, job_name

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EVERYTHING = JobFilter(
    statuses=[JobStatus.RUNNING, JobStatus.QUEUED],
    labels={"a": "b:c", "ü": "&="},
    batch_id="x",
    created_after=NOW,
    name="100 % + more",
)


def shown(**changes: Any) -> dict[str, Any]:
    """A job as the API shows it, as far as the gallery looks."""
    pictures = {"content": {"filename": "harbour.png"}, "style": {"filename": "night.jpg"}}
    return {
        "id": "j1",
        "name": "Harbour",
        "status": "running",
        "status_reason": None,
        "created_at": "2026-11-24T11:55:00.000Z",
        "labels": {},
        "leader_id": None,
        "queue": None,
        "eta": None,
        "error": None,
        "input": pictures,
        "progress": {"value": 0.4, "step": 40, "steps": 100},
        "metrics": {"run_seconds": None},
        "urls": {"thumbnail": "/t?v=1"},
        **changes,
    }


def waiting(**changes: Any) -> dict[str, Any]:
    return {"position": 1, "ahead_seconds": None, "message": None, **changes}


def test_an_address_keeps_every_filter():
    query = urlsplit(page_url(EVERYTHING)).query
    assert read_filter(MultiDict(parse_qsl(query))) == EVERYTHING
    assert page_url(JobFilter()) == "/"
    assert page_url(JobFilter(), page_token="t", newer_than=None) == "/?page_token=t"


@pytest.mark.parametrize(
    "only", [JobFilter(name="x"), JobFilter(labels={"a": "b"}), JobFilter(statuses=[JobStatus.FAILED])]
)
def test_what_leaves_something_out(only: JobFilter):
    assert is_filtered(only)
    assert not is_filtered(JobFilter())


def test_choices_count_and_keep_the_other_filters():
    only = JobFilter(statuses=[JobStatus.RUNNING], name="x")
    choices = {
        choice.status: choice for choice in status_choices(only, {JobStatus.QUEUED: 3, JobStatus.FAILED: 1})
    }
    assert choices[None].count == 4
    assert choices[None].url == "/?name=x"
    assert choices[JobStatus.QUEUED].count == 3
    assert choices[JobStatus.QUEUED].url == "/?status=queued&name=x"
    assert [status for status, choice in choices.items() if choice.is_chosen] == [JobStatus.RUNNING]
    assert set(choices) == {None, *JobStatus}


def test_a_rare_status_is_offered_when_it_is_there_or_chosen():
    def offered(only: JobFilter, counts: dict[JobStatus, int]) -> set[JobStatus | None]:
        return {choice.status for choice in status_choices(only, counts) if choice.is_offered}

    usual = {None, JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.FAILED}
    assert offered(JobFilter(), {}) == usual
    assert offered(JobFilter(), {JobStatus.EXPIRED: 1}) == usual | {JobStatus.EXPIRED}
    assert offered(JobFilter(statuses=[JobStatus.PAUSED]), {}) == usual | {JobStatus.PAUSED}


def test_a_label_can_be_given_up_alone():
    choices = label_choices(JobFilter(labels={"a": "1", "b": "2"}, name="x"))
    assert choices == [("a:1", "/?label=b%3A2&name=x"), ("b:2", "/?label=a%3A1&name=x")]


def test_filters_are_read_as_they_are_written():
    assert ("label", "a:b:c") in filter_query(EVERYTHING)


def test_a_card_leaves_out_what_to_do_about_a_wait_and_no_part_of_a_name():
    job = shown(status="queued", queue=waiting(message="no worker is connected; start one"))
    assert job_card(job, NOW).line == "no worker is connected"
    message = "waits for the job 'a; b', which does the same work"
    job = shown(status="queued", leader_id="j0", queue=waiting(message=message))
    assert job_card(job, NOW).line == message


@pytest.mark.parametrize(
    ("job", "line"),
    [
        (shown(), "step 40 of 100"),
        (shown(eta={"seconds": 75}), "step 40 of 100, 1 min 15 s left"),
        (shown(status_reason="pausing"), "pausing at step 40 of 100"),
        (shown(status="canceling"), "stopping at step 40 of 100"),
        (shown(status="paused"), "at step 40 of 100"),
        (shown(status="canceled"), "at step 40 of 100"),
        (shown(status="succeeded"), "done"),
        (shown(status="succeeded", metrics={"run_seconds": 12.4}), "done in 12 s"),
        (shown(status="succeeded", status_reason="reused"), "an earlier result"),
        (shown(status="failed", error={"title": "Out of memory"}), "Out of memory"),
        (shown(status="expired"), "at step 40 of 100"),
        (shown(status="queued"), "in the queue"),
        (shown(status="queued", queue=waiting()), "next in line"),
        (shown(status="queued", queue=waiting(position=2)), "1 job ahead"),
        (shown(status="queued", queue=waiting(position=4, ahead_seconds=240.0)), "3 jobs ahead, about 4 min"),
        (shown(status="queued", queue=waiting(position=4, ahead_seconds=0.0)), "3 jobs ahead"),
        (shown(status="queued", queue=waiting(message="no worker is connected")), "no worker is connected"),
    ],
)
def test_a_job_in_one_line(job: dict[str, Any], line: str):
    assert job_line(job) == line


def test_a_card():
    error = {"title": "Out of memory", "suggestion": "Choose a smaller size."}
    card = job_card(shown(status="failed", error=error, labels={"series": "a b"}), NOW)
    assert (card.line, card.suggestion) == ("Out of memory", "Choose a smaller size.")
    assert card.labels == (("series:a b", "/?label=series%3Aa+b"),)
    assert card.age == "5 min ago"
    assert card.progress is None
    assert job_card(shown(), NOW).progress == 0.4
    assert (card.is_final, job_card(shown(), NOW).is_final) == (True, False)
    # An open page lets ages grow by itself.
    assert job_card(shown(), None).age == ""
    # An error that a retry has overcome is none of this card's business.
    assert job_card(shown(error=error), NOW).suggestion == ""


def test_a_job_without_a_name_is_called_by_its_pictures():
    assert job_name(shown(name=None)) == "harbour.png × night.jpg"

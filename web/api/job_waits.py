"""Waiting for a job: an answer that comes when it is shown differently, or when it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Response

from web.api.rendered_jobs import RenderedJob, read_rendered
from web.jobs.queries import get_version
from web.later import Wait, answer_later
from web.services import Services

Answer = Callable[[RenderedJob], Response]


def answer_when_changed(
    services: Services, job: RenderedJob, answer: Answer, *, caller: str, seconds: int
) -> Response:
    """Answer for the job as soon as it is shown differently, or as it is after `seconds`.

    The caller has taken a place to wait, which is given back.
    """

    def find(since: float) -> RenderedJob | None:
        found = _look(services, job.job_id, caller=caller, since=since)
        return found if found.etag != job.etag else None

    return _answer_later(services, job.job_id, find, answer, caller=caller, seconds=seconds)


def answer_when_final(
    services: Services, job_id: str, answer: Answer, *, caller: str, seconds: int
) -> Response:
    """Answer for the job as soon as it has ended, or as it is after `seconds`; else as above."""
    version: int | None = None

    def find(since: float) -> RenderedJob | None:
        nonlocal version
        with services.backend.database.read() as session:
            now = get_version(session, job_id)
        if now == version is not None:
            return None  # each step of a job that runs would have it rendered
        version = now
        found = _look(services, job_id, caller=caller, since=since)
        return found if found.status.is_final else None

    return _answer_later(services, job_id, find, answer, caller=caller, seconds=seconds, only_changes=True)


def _look(services: Services, job_id: str, *, caller: str, since: float) -> RenderedJob:
    """Return a job as it was shown after a moment: however many hear of a change, one looks for all."""
    return services.backend.shared.get(
        ("rendered", caller, job_id), lambda: read_rendered(services, job_id, caller=caller), since=since
    )


def _answer_later(
    services: Services,
    job_id: str,
    find: Callable[[float], RenderedJob | None],
    answer: Answer,
    *,
    caller: str,
    seconds: int,
    only_changes: bool = False,
) -> Response:
    found: RenderedJob | None = None

    def is_over(since: float) -> bool:
        nonlocal found
        found = find(since)
        return found is not None

    def give() -> Response:
        # What ended the waiting was read a moment ago; when time is up it is read now.
        response = answer(found or read_rendered(services, job_id, caller=caller))
        response.headers["Preference-Applied"] = f"wait={seconds}"
        return response

    closers: list[Callable[[], object]] = [services.waits.give_back]
    wait = Wait(job_id, time.monotonic() + seconds, is_over, give, only_changes, closers)
    return answer_later(wait, services)

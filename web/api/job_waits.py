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

    def is_over(since: float) -> bool:
        return _look(services, job.job_id, caller=caller, since=since).etag != job.etag

    return _answer_later(services, job.job_id, is_over, answer, caller=caller, seconds=seconds)


def answer_when_final(
    services: Services, job_id: str, answer: Answer, *, caller: str, seconds: int
) -> Response:
    """Answer for the job as soon as it has ended, or as it is after `seconds`; else as above."""
    version: int | None = None

    def is_over(since: float) -> bool:
        nonlocal version
        with services.backend.database.read() as session:
            found = get_version(session, job_id)
        if found == version is not None:
            return False  # each step of a job that runs would have it rendered
        version = found
        return _look(services, job_id, caller=caller, since=since).status.is_final

    return _answer_later(services, job_id, is_over, answer, caller=caller, seconds=seconds, only_changes=True)


def _look(services: Services, job_id: str, *, caller: str, since: float) -> RenderedJob:
    """Return a job as it was shown after a moment: however many hear of a change, one looks for all."""
    return services.backend.shared.get(
        ("rendered", caller, job_id), lambda: read_rendered(services, job_id, caller=caller), since=since
    )


def _answer_later(
    services: Services,
    job_id: str,
    is_over: Callable[[float], bool],
    answer: Answer,
    *,
    caller: str,
    seconds: int,
    only_changes: bool = False,
) -> Response:
    def give() -> Response:
        response = answer(read_rendered(services, job_id, caller=caller))
        response.headers["Preference-Applied"] = f"wait={seconds}"
        return response

    closers: list[Callable[[], object]] = [services.waits.give_back]
    wait = Wait(job_id, time.monotonic() + seconds, is_over, give, only_changes, closers)
    return answer_later(wait, services)

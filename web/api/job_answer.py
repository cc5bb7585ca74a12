"""A job as an answer, with its ETag."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response

from web.api.answers import json_answer
from web.api.job_view import JobView


def job_answer(view: JobView, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response of a job."""
    response = json_answer(view.data, status, headers=headers)
    response.set_etag(view.etag)
    return response

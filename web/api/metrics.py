"""Metrics for Prometheus, of the whole service."""

from __future__ import annotations

from flask import Blueprint, Response, request

from shared.errors import DatabaseUnavailable
from shared.release import this_release
from web.api.openapi import Answer, Operation
from web.metrics.collector import OPEN_METRICS_TYPE, TEXT_TYPE, expose
from web.services import get_services

metrics = Blueprint("metrics", __name__)


@metrics.get("/metrics")
@Operation(
    "Read the metrics",
    "health",
    answers={200: Answer("In the format of Prometheus", media_types=(TEXT_TYPE, OPEN_METRICS_TYPE))},
    refusals=(DatabaseUnavailable,),
)
def read_metrics() -> Response:
    """Tell the metrics of the whole service in the format of Prometheus: docs/metrics.md has all of them.

    They are of the jobs of all callers, and five seconds old as a rule. What does not answer is left out, and
    `atelier_source_up` tells which of `database`, `redis`, `storage` and `outlook` that is.
    """
    services = get_services()
    text, content_type = expose(
        services.metrics.read(services.checkup.run),
        release=this_release(),
        min_free_bytes=services.backend.settings.min_free_bytes,
        accept=request.headers.get("Accept", ""),
    )
    return Response(text, content_type=content_type, headers={"Cache-Control": "no-store"})

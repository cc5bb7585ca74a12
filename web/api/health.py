"""Liveness and readiness, for operators."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response

from shared.errors import ArtifactMissing, RedisUnavailable, ServiceError
from shared.logs import get_logger
from shared.redis.connection import redis_errors
from shared.redis.control import control_fault
from web.api.http import json_answer
from web.api.openapi import Answer, Operation
from web.api.schemas import CheckOut, HealthOut, ReadinessOut
from web.services import Services, get_services

_log = get_logger(__name__)
health = Blueprint("health", __name__)


@health.get("/healthz")
@Operation("Is it alive?", "health", answers={200: Answer("It is", (HealthOut,))})
def read_health() -> Response:
    """Tell that the process answers; asks nothing of any other part."""
    return json_answer({"status": "ok"}, headers={"Cache-Control": "no-store"})


@health.get("/readyz")
@Operation(
    "Does it take jobs?",
    "health",
    answers={
        200: Answer("It does", (ReadinessOut,)),
        503: Answer("It does not; the failing part is named", (ReadinessOut,)),
    },
)
def read_readiness() -> Response:
    """Check database, storage, Redis and control.

    Without Redis or control jobs are taken and kept, but do not start: that is `degraded`, and still 200,
    since a proxy must not turn callers away for it.
    """
    services = get_services()
    checks = {
        "database": _check(services.backend.database.check),
        "storage": _check(services.backend.storage.check),
        "redis": _check(lambda: _ping(services)),
        "control": _check_control(services),
    }
    ready = checks["database"].ok and checks["storage"].ok
    degraded = not (checks["redis"].ok and checks["control"].ok)
    answer = ReadinessOut(ready=ready, degraded=degraded, checks=checks)
    headers = {"Cache-Control": "no-store"}
    return json_answer(answer.model_dump(mode="json"), 200 if ready else 503, headers=headers)


def _ping(services: Services) -> None:
    with redis_errors():
        services.backend.redis.client.ping()


def _check_control(services: Services) -> CheckOut:
    """Return how control is, as its heartbeat in Redis says."""
    try:
        fault = control_fault(services.backend.redis.control.read())
    except RedisUnavailable:
        return CheckOut(ok=False, detail="Nobody knows while Redis does not answer.")
    if fault is not None:
        _log.warning("not_ready", detail=fault)
    return CheckOut(ok=fault is None, detail=fault)


def _check(part: Callable[[], None]) -> CheckOut:
    """Return how a part is; its own words go to the log, since they may hold addresses."""
    try:
        part()
    except (ServiceError, ArtifactMissing) as error:
        _log.warning("not_ready", code=error.code, detail=error.detail)
        return CheckOut(ok=False, detail=" ".join(filter(None, (error.title(), error.suggestion))))
    return CheckOut(ok=True)

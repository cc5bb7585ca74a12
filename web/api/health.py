"""Liveness and readiness, for operators."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.errors import ArtifactMissing, RedisUnavailable, ServiceError
from shared.installation import check_identity
from shared.logs import get_logger
from shared.redis.connection import redis_errors
from shared.redis.control import control_fault
from web.api.http import json_answer
from web.api.openapi import Answer, Operation
from web.api.service_schemas import CheckOut, HealthOut, ReadinessOut
from web.services import Services, get_services

#: Without these no job can be taken in; without the others jobs do not start.
_NEEDED = ("database", "storage", "room")
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
    """Check database, storage, the room on their disks, Redis and control, for two seconds at most.

    Without Redis or control jobs are taken and kept, but do not start: that is `degraded`, and still 200,
    since a proxy must not turn callers away for it.
    """
    services = get_services()
    backend = services.backend
    found = services.checkup.run(
        {
            "database": backend.database.check,
            "storage": lambda: _check_storage(services),
            "room": backend.require_room,
            "redis": lambda: _ping(services),
        }
    )
    checks = {name: _tell(error) for name, error in found.items()}
    ready = all(checks[name].ok for name in _NEEDED)
    checks["control"] = _check_control(services, is_redis_ok=checks["redis"].ok)
    degraded = not (checks["redis"].ok and checks["control"].ok)
    answer = ReadinessOut(ready=ready, degraded=degraded, checks=checks)
    headers = {"Cache-Control": "no-store"}
    return json_answer(answer.model_dump(mode="json"), 200 if ready else 503, headers=headers)


def _ping(services: Services) -> None:
    with redis_errors():
        services.backend.redis.client.ping()


def _check_control(services: Services, *, is_redis_ok: bool) -> CheckOut:
    """Return how control is, as its heartbeat in Redis says."""
    try:
        if not is_redis_ok:
            raise RedisUnavailable()
        fault = control_fault(services.backend.redis.control.read())
    except RedisUnavailable:
        return CheckOut(
            ok=False,
            detail="Control tells through Redis how it is, and Redis does not answer: it may run or not.",
        )
    if fault is not None:
        _log.warning("not_ready", detail=fault)
    return CheckOut(ok=fault is None, detail=fault)


def _check_storage(services: Services) -> None:
    check_identity(services.backend.storage, services.backend.redis.names)
    services.backend.storage.check()


def _tell(error: Exception | None) -> CheckOut:
    """Return how a part is; its own words go to the log, since they may hold addresses."""
    if error is None:
        return CheckOut(ok=True)
    if isinstance(error, TimeoutError):
        _log.warning("not_ready", detail=str(error))
        return CheckOut(ok=False, detail=f"There is {error}.")
    if not isinstance(error, ServiceError | ArtifactMissing):
        raise error
    _log.warning("not_ready", code=error.code, detail=error.detail)
    said = (
        f"{error.title()} {error.detail[:1].upper()}{error.detail[1:]}."
        if error.tells_detail
        else error.title()
    )
    return CheckOut(ok=False, detail=" ".join(filter(None, (said, error.suggestion))))

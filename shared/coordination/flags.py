"""Flags: what the worker of an attempt is asked to do at its next step. Control raises a lost one again."""

from __future__ import annotations

from enum import StrEnum

import redis

from shared.coordination.connection import PREFIX, redis_errors

_KEEP_SECONDS = 24 * 3600


class Flag(StrEnum):
    """A request to the worker of a running job."""

    CANCEL = "cancel"
    PAUSE = "pause"


class Flags:
    """The flags of all jobs. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def raise_flag(self, job_id: str, attempt: int, flag: Flag) -> None:
        """Ask the worker of an attempt for something; the last word counts, and no later attempt hears it."""
        with redis_errors():
            self._client.set(_key(job_id, attempt), flag.value, ex=_KEEP_SECONDS)

    def read(self, job_id: str, attempt: int) -> Flag | None:
        """Return what the worker of an attempt is asked for."""
        with redis_errors():
            value = self._client.get(_key(job_id, attempt))
        return Flag(value) if value in list(Flag) else None


def _key(job_id: str, attempt: int) -> str:
    return f"{PREFIX}flag:{job_id}:{attempt}"

"""Flags: what a worker is asked to do at its next step. The control process raises a lost one again."""

from __future__ import annotations

from enum import StrEnum

import redis

from shared.coordination.connection import PREFIX, redis_errors

_KEEP_SECONDS = 24 * 3600


class Flag(StrEnum):
    """A request to the worker of a running job."""

    CANCEL = "cancel"


class Flags:
    """The flags of all jobs. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def raise_flag(self, job_id: str, flag: Flag) -> None:
        """Ask the worker of a job for something; asking twice is asking once."""
        with redis_errors():
            self._client.set(_key(job_id), flag.value, ex=_KEEP_SECONDS)

    def read(self, job_id: str) -> Flag | None:
        """Return what the worker of a job is asked for."""
        with redis_errors():
            value = self._client.get(_key(job_id))
        return Flag(value) if value in list(Flag) else None

    def lower(self, job_id: str) -> None:
        """Forget what was asked."""
        with redis_errors():
            self._client.delete(_key(job_id))


def _key(job_id: str) -> str:
    return f"{PREFIX}flag:{job_id}"

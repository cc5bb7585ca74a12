"""The epoch: a mark in Redis by which one sees that it came back without its data."""

from __future__ import annotations

import redis

from shared.coordination.connection import PREFIX, redis_errors
from shared.ids import new_id


class Epoch:
    """Raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def is_new(self) -> bool:
        """Whether the mark was missing; it is set then, so that the next answer is no."""
        with redis_errors():
            return bool(self._client.set(f"{PREFIX}epoch", new_id(), nx=True))

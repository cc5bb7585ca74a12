"""The connection to Redis, and its faults as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from shared.errors import RedisUnavailable
from shared.settings import Settings

PREFIX = "atelier:"


def connect_redis(settings: Settings) -> redis.Redis:
    """Return a client that decodes answers to text; it connects when first used."""
    client: redis.Redis = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_connect_timeout=2,
        socket_timeout=10,
        socket_keepalive=True,
        health_check_interval=25,
    )
    return client


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn the faults of the connection into `RedisUnavailable`; wrong commands stay what they are."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError) as error:
        raise RedisUnavailable(f"Redis does not answer: {error}") from error

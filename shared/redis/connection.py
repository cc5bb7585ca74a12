"""The connection to Redis, its errors as `RedisUnavailable`, and the mark that shows a loss of data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import RedisUnavailable
from shared.protocol import new_id
from shared.redis.names import Names
from shared.settings import Settings

#: Redis refuses all commands that write, because its disk is full or its replicas are gone.
_REFUSED_FOR_NOW = re.compile(r"(?:^|caused error: )(?:MISCONF|NOREPLICAS)\b")


def connect_redis(settings: Settings, *, reply_seconds: float = 10, tries_again: bool = True) -> redis.Redis:
    """Return a client that decodes replies to text; it connects when first used.

    One that does not try again gives up after `reply_seconds`, or as long for a new connection; any other
    takes several times as long, which redis-py spends on further tries.
    """
    once: dict[str, Any] = {} if tries_again else {"retry": Retry(NoBackoff(), 0)}
    client: redis.Redis = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_connect_timeout=min(2.0, reply_seconds),
        socket_timeout=reply_seconds,
        socket_keepalive=True,
        health_check_interval=25,
        **once,
    )
    return client


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn errors of connection and server into `RedisUnavailable`; errors of wrong commands pass through."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise RedisUnavailable(f"Redis does not answer: {error}") from error
    except (redis.ReadOnlyError, redis.OutOfMemoryError) as error:
        raise RedisUnavailable(f"Redis refuses to write: {error}") from error
    except redis.ResponseError as error:
        if not _REFUSED_FOR_NOW.search(str(error)):
            raise
        raise RedisUnavailable(f"Redis refuses to write: {error}") from error


class Epoch:
    """A mark in Redis that is missing when Redis has lost its data.

    `is_new` raises `RedisUnavailable` when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._client = client
        self._key = names.key("epoch")

    def is_new(self) -> bool:
        """Whether the mark was missing; sets it, so that the next call returns False."""
        with redis_errors():
            return bool(self._client.set(self._key, new_id(), nx=True))

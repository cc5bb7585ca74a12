"""The connection to Redis, its errors as `RedisUnavailable`, and the mark that shows a loss of data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from shared.errors import RedisUnavailable
from shared.protocol import new_id
from shared.redis.names import Names
from shared.settings import Settings

#: Redis refuses all commands that write, because its disk is full or its replicas are gone.
_REFUSED_FOR_NOW = re.compile(r"(?:^|caused error: )(?:MISCONF|NOREPLICAS)\b")


def connect_redis(settings: Settings, *, reply_seconds: float = 10) -> redis.Redis:
    """Return a client that decodes replies to text; it connects when first used."""
    client: redis.Redis = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_connect_timeout=2,
        socket_timeout=reply_seconds,
        socket_keepalive=True,
        health_check_interval=25,
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

    Every method raises `RedisUnavailable` when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._client = client
        self._key = names.key("epoch")
        self._restore_key = names.key("restored")

    def is_new(self) -> bool:
        """Whether the mark was missing; sets it, so that the next call returns False."""
        with redis_errors():
            return bool(self._client.set(self._key, new_id(), nx=True))

    def knows_restore(self, name: str) -> bool:
        """Whether this restore of the database was noted here: Redis holds nothing of the time before."""
        with redis_errors():
            return bool(self._client.get(self._restore_key) == name)

    def note_restore(self, name: str) -> None:
        """Note a restore of the database."""
        with redis_errors():
            self._client.set(self._restore_key, name)

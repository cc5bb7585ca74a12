"""The connection to Redis, its errors as `RedisUnavailable`, and the mark that shows a loss of data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from shared.errors import RedisUnavailable
from shared.protocol import new_id
from shared.redis.names import Names
from shared.settings import Settings

#: Replies to a command that is wrong in itself, or that meets a key which somebody else has filled. Every
#: other error means that Redis refuses a command that is right: for want of memory, disk, replicas or
#: permission, while a script runs, while it loads its data, or for what later releases think of.
_WRONG_COMMAND = re.compile(
    r"""(?:^|caused[ ]error:[ ])(?:
        WRONGTYPE | NOSCRIPT | NOGROUP | BUSYGROUP | BUSYKEY | CROSSSLOT | wrong[ ]number[ ]of[ ]arguments
        | syntax[ ]error | value[ ]is[ ] | hash[ ]value[ ]is[ ] | invalid[ ]stream[ ]id
        | error[ ]compiling[ ]script | user_script:
    )""",
    re.VERBOSE | re.IGNORECASE,
)


def connect_redis(settings: Settings, *, reply_seconds: float = 10, tries_again: bool = True) -> redis.Redis:
    """Return a client that decodes replies to text; it connects when first used.

    One that does not try again gives up after `reply_seconds`, or as long for a new connection; any other
    takes several times as long, which redis-py spends on further tries.
    """
    once: dict[str, Any] = {} if tries_again else {"retry": Retry(NoBackoff(), 0)}
    client: redis.Redis = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        # What somebody else wrote need not be UTF-8. Written again, it is the same bytes.
        encoding_errors="surrogateescape",
        socket_connect_timeout=min(2.0, reply_seconds),
        socket_timeout=reply_seconds,
        socket_keepalive=True,
        health_check_interval=25,
        **once,
    )
    return client


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn errors of connection and server into `RedisUnavailable`; errors of wrong commands pass through.

    A well-formed command that Redis refuses is a wait: whoever sent it tries again later.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise RedisUnavailable(f"Redis does not answer: {error}") from error
    except redis.ResponseError as error:
        if is_wrong_command(error):
            raise
        raise RedisUnavailable(f"Redis refuses for now: {error}") from error
    except (redis.InvalidResponse, OSError) as error:
        raise RedisUnavailable(f"Redis does not answer as it should: {error}") from error


def is_wrong_command(error: redis.ResponseError) -> bool:
    """Whether a reply says that the command is wrong in itself, or the key of another type."""
    return isinstance(error, NoScriptError) or bool(_WRONG_COMMAND.search(str(error)))


def is_wrong_type(error: redis.ResponseError) -> bool:
    """Whether a reply says that a key holds something else than what we put there."""
    return "WRONGTYPE" in str(error)


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

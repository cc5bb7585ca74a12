"""The connection to Redis, its least version, its errors, and the mark that shows a loss of data."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import NoScriptError
from redis.retry import Retry

from shared.errors import InvalidSettings, RedisTooOld, RedisUnavailable
from shared.protocol import new_id
from shared.redis.names import Names
from shared.settings import Settings

#: Of Redis; Valkey's own begin with 7.2.
LEAST_VERSION = (6, 2)
_START_SECONDS = 2.0
_VERIFICATIONS = ("required", "optional", "none")
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

    Raises:
        InvalidSettings: as `tls_options`, or when the URL has a parameter that is none.
    """
    more: dict[str, Any] = {} if tries_again else {"retry": Retry(NoBackoff(), 0)}
    if not settings.redis_url.startswith("unix://"):  # a socket of this machine has neither
        more |= {"socket_connect_timeout": min(2.0, reply_seconds), "socket_keepalive": True}
    client: redis.Redis = redis.Redis.from_url(
        plain_url(settings),
        **tls_options(settings),
        decode_responses=True,
        # What somebody else wrote need not be UTF-8. Written again, it is the same bytes.
        encoding_errors="surrogateescape",
        socket_timeout=reply_seconds,
        health_check_interval=25,
        redis_connect_func=_meet,
        **more,
    )
    try:
        client.connection_pool.make_connection()  # it connects to nothing yet
    except (TypeError, ValueError, redis.RedisError) as error:
        words = str(error).partition("unexpected keyword argument ")[2] or str(error)
        raise InvalidSettings(f"ATELIER_REDIS_URL has a parameter that is none: {words}") from None
    return client


def require_fit_redis(settings: Settings) -> None:
    """Prove that the server is not one that will never do; one that does not answer may be well later.

    Raises:
        RedisTooOld: when it is of a release before `LEAST_VERSION`.
        InvalidSettings: as `connect_redis`.
    """
    client = connect_redis(settings, reply_seconds=_START_SECONDS, tries_again=False)
    try:
        with redis_errors():
            client.ping()
    except RedisTooOld:
        raise
    except RedisUnavailable:
        pass  # each part waits for it in its own way
    finally:
        client.close()


class _OldServer(redis.RedisError):
    """The server is too old; no further try changes that, so it is no error of the connection."""


def _meet(connection: Any) -> None:  # noqa: ANN401 - any kind of redis-py's connections
    """Begin a connection as redis-py does, and refuse a server that is too old."""
    refusal = None
    try:
        connection.on_connect()
    except redis.ResponseError as error:
        # The greeting of redis-py came with 6.0.
        if "unknown command" not in str(error).lower():
            raise
        refusal = error
    version = _told_version(connection)
    if version is None and refusal is not None:
        raise refusal
    if version is not None and _numbers(version) < LEAST_VERSION:
        raise _OldServer(
            f"the Redis that ATELIER_REDIS_URL names is of version {version}; Atelier works with "
            f"{'.'.join(map(str, LEAST_VERSION))} and later, and with every Valkey"
        )
    if refusal is not None:
        raise refusal


def _told_version(connection: Any) -> str | None:  # noqa: ANN401 - as above
    """Return the version that a server tells; None when it tells none, or may not."""
    greeting = getattr(connection, "handshake_metadata", None) or {}
    told = greeting.get("version") or greeting.get(b"version")
    if told is None:
        connection.send_command("INFO", "server", check_health=False)
        try:
            told = connection.read_response(disable_decoding=True)
        except redis.ResponseError:
            return None
        found = re.search(rb"redis_version:([0-9.]+)", told if isinstance(told, bytes) else b"")
        told = found[1] if found else None
    text = told.decode(errors="replace") if isinstance(told, bytes) else told
    return text if isinstance(text, str) and re.match(r"\d+\.\d+", text) else None


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = re.findall(r"\d+", version)
    return int(major), int(minor)


def tls_options(settings: Settings) -> dict[str, Any]:
    """Return how a server is verified, in redis-py's words, which kombu passes on; nothing without TLS.

    Its certificate must be valid for its name, and signed by an authority that the system or
    ``ATELIER_REDIS_CA_FILE`` names. What the URL says of it (``ssl_…``) wins.

    Raises:
        InvalidSettings: when the file is none of certificates, or the URL is not one.
    """
    given = _tls_of_url(settings.redis_url)
    file = settings.redis_ca_file
    if given is None:
        if file:
            raise InvalidSettings(
                "ATELIER_REDIS_CA_FILE is set, but ATELIER_REDIS_URL is without TLS: with it, it begins with "
                "rediss://"
            )
        return {}
    options: dict[str, Any] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    if file:
        try:
            ssl.create_default_context(cafile=file)
        except (OSError, ValueError) as error:
            raise InvalidSettings(
                f"ATELIER_REDIS_CA_FILE is {file!r}, which is no file of certificates (PEM): "
                f"{getattr(error, 'strerror', None) or error}"
            ) from error
        options["ssl_ca_certs"] = file
    return options | given


def plain_url(settings: Settings) -> str:
    """Return the URL of Redis without what it says of TLS, since kombu reads that otherwise than redis-py."""
    address, _, query = settings.redis_url.partition("?")
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if not pair[0].startswith("ssl_")]
    return f"{address}?{urlencode(kept)}" if kept else address


def broker_url(settings: Settings) -> str:
    """Return the URL of Redis as kombu has it: a socket is called otherwise, a database is part of the path.

    kombu takes no other parameter, and fails at one that it does not know.
    """
    url, _, query = plain_url(settings).partition("?")
    told = dict(parse_qsl(query))
    if url.startswith("unix://"):
        database = f"?{urlencode({'virtual_host': told['db']})}" if "db" in told else ""
        return f"redis+socket://{url.removeprefix('unix://')}{database}"
    scheme, _, rest = url.partition("://")
    address, _, path = rest.partition("/")
    return f"{scheme}://{address}/{path.strip('/') or told.get('db', '0')}"


def _tls_of_url(url: str) -> dict[str, Any] | None:
    """Return what a URL says of TLS; None for one without TLS."""
    try:
        told: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise InvalidSettings(f"ATELIER_REDIS_URL is no address of Redis: {error}") from None
    if not url.startswith("rediss://"):
        return None
    options = {name: value for name, value in told.items() if name.startswith("ssl_")}
    if "ssl_cert_reqs" in options:
        word = str(options["ssl_cert_reqs"]).lower().removeprefix("cert_")
        if word not in _VERIFICATIONS:
            raise InvalidSettings(
                f"ATELIER_REDIS_URL: ssl_cert_reqs is '{word}'; allowed are {', '.join(_VERIFICATIONS)}"
            )
        options["ssl_cert_reqs"] = word
    return options


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn errors of connection and server into `RedisUnavailable`; errors of wrong commands pass through.

    A well-formed command that Redis refuses is a wait: whoever sent it tries again later.
    """
    try:
        yield
    except _OldServer as error:
        raise RedisTooOld(str(error)) from error
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
            # Not GET: that fails on a key of another type, and MGET takes it for none.
            return bool(self._client.mget([self._restore_key])[0] == name)

    def note_restore(self, name: str) -> None:
        """Note a restore of the database."""
        with redis_errors():
            self._client.set(self._restore_key, name)

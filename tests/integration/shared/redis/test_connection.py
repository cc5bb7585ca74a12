"""A Redis that answers, but refuses, is unavailable; a wrong command is a fault of ours."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import redis

from shared.broker import Dispatch
from shared.errors import RedisUnavailable
from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, WorkerEvent
from shared.redis import Coordination
from shared.redis.claims import Claims
from shared.redis.connection import connect_redis, redis_errors
from shared.redis.live import Flag, Flags, LiveProgress, ProgressStore
from shared.redis.names import Names
from shared.redis.stream import EventStream
from shared.settings import Settings

_PICTURE = InputPicture(key="assets/aa/aa", sha256="aa")
_MESSAGE = JobMessage(job_id="j", attempt=1, content=_PICTURE, style=_PICTURE, options=StyleOptions())
_PROGRESS = LiveProgress(
    attempt=1, step=1, steps=2, loss_total=1, loss_content=1, loss_style=0, steps_per_second=None
)
_EVENT = WorkerEvent(
    event_id="e", type=EventType.CANCELED, job_id="j", attempt=1, at=datetime(2026, 1, 1, tzinfo=UTC), data={}
)

NAMES = Names("test")


def dispatch_of(settings: Settings) -> Dispatch:
    return Dispatch(settings, Coordination.connect(settings, NAMES))


WRITERS: dict[str, Callable[[redis.Redis, Settings], object]] = {
    "claim": lambda client, _: Claims(client, NAMES).claim("j", 1, token="a"),
    "renew": lambda client, _: Claims(client, NAMES).renew("j", 1, token="a"),
    "fence": lambda client, _: Claims(client, NAMES).fence("j", 2),
    "flag": lambda client, _: Flags(client, NAMES).raise_flag("j", 1, Flag.PAUSE),
    "progress": lambda client, _: ProgressStore(client, NAMES).publish("j", _PROGRESS),
    "report": lambda client, _: EventStream(client, NAMES).report(_EVENT),
    "fresh": lambda client, _: EventStream(client, NAMES).fresh(count=1),
    "send": lambda _, settings: dispatch_of(settings).send([_MESSAGE]),
    "send first": lambda _, settings: dispatch_of(settings).send_first([_MESSAGE]),
}
#: What makes a server refuse to write, and what makes it do so again.
REFUSALS = {
    "its memory is full": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "its replicas are gone": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    "it is a replica": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "permissions are gone": (
        "ACL SETUSER default -@write -evalsha -eval",
        "ACL SETUSER default +@all",
    ),
    "permissions of scripts are gone": (
        "ACL SETUSER default -hset -hdel -set -xadd -xgroup -lpush -rpush -xreadgroup -multi",
        "ACL SETUSER default +@all",
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("reason", REFUSALS)
def test_a_redis_that_refuses_to_write_is_unavailable(
    redis_client: redis.Redis, settings: Settings, writer: str, reason: str
):
    refused, mended = REFUSALS[reason]
    redis_client.execute_command(*refused.split())
    try:
        with pytest.raises(RedisUnavailable):
            WRITERS[writer](redis_client, settings)
    finally:
        redis_client.execute_command(*mended.split())
    WRITERS[writer](redis_client, settings)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_redis_that_is_busy_with_a_script_is_unavailable(
    redis_client: redis.Redis, settings: Settings, writer: str
):
    redis_client.config_set("busy-reply-threshold", 1)
    with connect_redis(settings) as other:
        running = threading.Thread(target=_run_for_ever, args=(other,))
        running.start()
        try:
            _wait_until_busy(redis_client)
            with pytest.raises(RedisUnavailable, match="BUSY"):
                WRITERS[writer](redis_client, settings)
        finally:
            redis_client.script_kill()
            running.join()
            redis_client.config_set("busy-reply-threshold", 5000)
    WRITERS[writer](redis_client, settings)


def _run_for_ever(client: redis.Redis) -> None:
    with contextlib.suppress(redis.ResponseError):  # it is killed
        client.eval("while true do end", 0)


def _wait_until_busy(client: redis.Redis) -> None:
    while True:
        try:
            client.ping()
        except redis.ResponseError:
            return


REPLIES = [
    redis.ResponseError("BUSY Redis is busy running a script."),
    redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
    redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
    redis.ResponseError("UNKILLABLE Sorry the script already executed write commands"),
    redis.ResponseError("Command # 1 (SET a b) of pipeline caused error: MISCONF Redis is configured"),
    redis.ResponseError("ACL failure in script: User default has no permissions to run the 'hset' command"),
    redis.ResponseError("something that a later release has thought of"),
    redis.exceptions.NoPermissionError("User default has no permissions to run the 'brpop' command"),
    redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
    redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    redis.exceptions.AuthenticationError("Authentication required."),
    redis.exceptions.AuthorizationError("no"),
    redis.exceptions.ClusterDownError("The cluster is down"),
    redis.exceptions.MasterDownError("Link with MASTER is down"),
    redis.exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    redis.exceptions.ExecAbortError("Transaction discarded because of previous errors."),
    redis.exceptions.InvalidResponse("Protocol Error"),
    redis.ConnectionError("max number of clients reached"),
    redis.TimeoutError("no answer"),
]


@pytest.mark.parametrize("reply", REPLIES, ids=str)
def test_a_refusal_of_a_right_command_is_a_wait(reply: redis.RedisError):
    with pytest.raises(RedisUnavailable), redis_errors():
        raise reply


WRONG = {
    "arity": ("GET",),
    "syntax": ("SET", "b", "c", "NOTHING"),
    "type": ("LPUSH", "a", "b"),
    "number": ("INCR", "a"),
    "script": ("EVAL", "return nil + 1", 0),
    "no script": ("EVAL", "return (", 0),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_stays_one(redis_client: redis.Redis, name: str):
    redis_client.set("a", "text")
    with pytest.raises(redis.ResponseError), redis_errors():
        redis_client.execute_command(*WRONG[name])

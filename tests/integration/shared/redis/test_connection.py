"""A Redis that answers, but refuses, is unavailable; a wrong command is a fault of ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import redis

from shared.errors import RedisUnavailable
from shared.protocol import EventType, WorkerEvent
from shared.redis.claims import Claims
from shared.redis.connection import redis_errors
from shared.redis.live import Flag, Flags, LiveProgress, ProgressStore
from shared.redis.names import Names
from shared.redis.stream import EventStream

_PROGRESS = LiveProgress(
    attempt=1, step=1, steps=2, loss_total=1, loss_content=1, loss_style=0, steps_per_second=None
)
_EVENT = WorkerEvent(
    event_id="e", type=EventType.CANCELED, job_id="j", attempt=1, at=datetime(2026, 1, 1, tzinfo=UTC), data={}
)

WRITERS: dict[str, Callable[[redis.Redis], object]] = {
    "claim": lambda client: Claims(client, NAMES).claim("j", 1, token="a"),
    "renew": lambda client: Claims(client, NAMES).renew("j", 1, token="a"),
    "fence": lambda client: Claims(client, NAMES).fence("j", 2),
    "flag": lambda client: Flags(client, NAMES).raise_flag("j", 1, Flag.PAUSE),
    "progress": lambda client: ProgressStore(client, NAMES).publish("j", _PROGRESS),
    "report": lambda client: EventStream(client, NAMES).report(_EVENT),
    "fresh": lambda client: EventStream(client, NAMES).fresh(count=1),
}
#: What makes a server refuse to write, and what makes it do so again.
REFUSALS = {
    "its memory is full": ({"maxmemory": 1}, {"maxmemory": 0}),
    "its replicas are gone": ({"min-replicas-to-write": 1}, {"min-replicas-to-write": 0}),
}

NAMES = Names("test")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("reason", REFUSALS)
def test_a_redis_that_refuses_to_write_is_unavailable(redis_client: redis.Redis, writer: str, reason: str):
    refused, mended = REFUSALS[reason]
    redis_client.config_set(*next(iter(refused.items())))
    try:
        with pytest.raises(RedisUnavailable):
            WRITERS[writer](redis_client)
    finally:
        redis_client.config_set(*next(iter(mended.items())))
    WRITERS[writer](redis_client)


def test_a_wrong_command_stays_one(redis_client: redis.Redis):
    redis_client.set("a", "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"), redis_errors():
        redis_client.lpush("a", "b")

"""The event stream: the workers' reports, kept in Redis until the projector has applied them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import redis

from shared.logs import get_logger
from shared.protocol import WorkerEvent
from shared.redis.connection import is_wrong_type, redis_errors
from shared.redis.names import Names

_log = get_logger(__name__)
GROUP = "projector"
_CONSUMER = "control"
_EXHAUSTED = "exhausted the last possible ID"
_BEGIN_ANEW = "if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end"


@dataclass(frozen=True)
class Delivery:
    """One entry of the stream: its id there, and the event's JSON text; without one, all of its fields."""

    entry_id: str
    text: str


@dataclass(frozen=True)
class StreamBacklog:
    """How many reports are not applied yet, and the age of the first of them in seconds."""

    count: int = 0
    oldest_seconds: float = 0.0


class EventStream:
    """A Redis stream with one consumer group. Every method raises `RedisUnavailable` without Redis."""

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._client = client
        self.name = names.key("events")
        self._begin_anew = client.register_script(_BEGIN_ANEW)

    def report(self, event: WorkerEvent) -> None:
        """Append an event. The stream is never trimmed: an unread entry must not get lost."""
        fields: Any = {"event": event.to_json()}
        with redis_errors():
            try:
                self._client.xadd(self.name, fields)
            except redis.ResponseError as error:
                if is_wrong_type(error):
                    self._move_aside()
                elif _EXHAUSTED in str(error):
                    self._count_anew()
                else:
                    raise
                self._client.xadd(self.name, fields)

    def pending(self, *, count: int) -> list[Delivery]:
        """Return entries that were delivered before but never acknowledged, oldest first."""
        return self._read("0", count=count, block_ms=None)

    def fresh(self, *, count: int, block_ms: int | None = None) -> list[Delivery]:
        """Return entries never delivered before; wait up to `block_ms` milliseconds for the first."""
        return self._read(">", count=count, block_ms=block_ms)

    def acknowledge(self, deliveries: list[Delivery]) -> None:
        """Remove entries that are stored in the database."""
        if not deliveries:
            return
        ids = [delivery.entry_id for delivery in deliveries]
        with redis_errors():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.xack(self.name, GROUP, *ids)
            pipeline.xdel(self.name, *ids)
            pipeline.execute()

    def length(self) -> int:
        """Return how many entries are not yet acknowledged or not yet read."""
        with redis_errors():
            try:
                return int(self._client.xlen(self.name))
            except redis.ResponseError as error:
                if not is_wrong_type(error):
                    raise
                self._move_aside()
                return 0

    def backlog(self) -> StreamBacklog:
        """Return how many entries are not acknowledged yet, and how old the first is, by Redis' own clock.

        Nothing is moved or made: whoever only looks leaves it as it is.
        """
        with redis_errors():
            try:
                count = int(self._client.xlen(self.name))
                first: Any = self._client.xrange(self.name, count=1)
            except redis.ResponseError as error:
                if not is_wrong_type(error):
                    raise
                return StreamBacklog()
            seconds, microseconds = self._client.time()
        if not first:
            return StreamBacklog(count)
        # An id begins with milliseconds since 1970; one that somebody made up may be in the future.
        made_ms = int(str(first[0][0]).partition("-")[0])
        return StreamBacklog(count, max(0.0, seconds + microseconds / 10**6 - made_ms / 1000))

    def _read(self, start: str, *, count: int, block_ms: int | None) -> list[Delivery]:
        answer = self._ask(start, count, block_ms)
        entries = answer[0][1] if answer else []
        # An entry that somebody has deleted is still listed, without its fields.
        deleted = [entry_id for entry_id, fields in entries if not fields]
        if deleted:
            with redis_errors():
                self._client.xack(self.name, GROUP, *deleted)
            if len(deleted) == len(entries):
                return self._read(start, count=count, block_ms=None)
        return [Delivery(entry_id, _text_of(fields)) for entry_id, fields in entries if fields]

    def _ask(self, start: str, count: int, block_ms: int | None) -> list[Any]:
        with redis_errors():
            try:
                return self._group_read(start, count, block_ms)
            except redis.ResponseError as error:
                if is_wrong_type(error):
                    self._move_aside()
                elif "NOGROUP" not in str(error):
                    raise
            # Redis has lost its data, or this is the first start.
            self._create_group()
            return self._group_read(start, count, block_ms)

    def _group_read(self, start: str, count: int, block_ms: int | None) -> list[Any]:
        streams: Any = {self.name: start}
        answer: Any = self._client.xreadgroup(GROUP, _CONSUMER, streams, count=count, block=block_ms)
        return list(answer.items()) if isinstance(answer, dict) else list(answer or [])

    def _create_group(self) -> None:
        try:
            self._client.xgroup_create(self.name, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _count_anew(self) -> None:
        """Let ids begin anew: somebody has used up the last of them.

        That needs an empty stream, which it becomes as soon as the reading end has taken out all there is.
        """
        _log.error("stream_exhausted", key=self.name)
        self._begin_anew(keys=[self.name])

    def _move_aside(self) -> None:
        """Make room for the stream, where somebody has put something else under its name."""
        _log.error("stream_is_none", key=self.name, moved_to=f"{self.name}:damaged")
        self._client.rename(self.name, f"{self.name}:damaged")


def _text_of(fields: dict[str, str]) -> str:
    return fields["event"] if "event" in fields else json.dumps(fields)

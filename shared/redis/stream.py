"""The event stream: the workers' reports, kept in Redis until the projector has applied them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from shared.protocol import WorkerEvent
from shared.redis.connection import redis_errors
from shared.redis.names import Names

GROUP = "projector"
_CONSUMER = "control"


@dataclass(frozen=True)
class Delivery:
    """One entry of the stream: its id there, and the event's JSON text."""

    entry_id: str
    text: str


class EventStream:
    """A Redis stream with one consumer group. Every method raises `RedisUnavailable` without Redis."""

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._client = client
        self.name = names.key("events")

    def report(self, event: WorkerEvent) -> None:
        """Append an event. The stream is never trimmed: an unread entry must not get lost."""
        with redis_errors():
            self._client.xadd(self.name, {"event": event.model_dump_json()})

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
            return int(self._client.xlen(self.name))

    def _read(self, start: str, *, count: int, block_ms: int | None) -> list[Delivery]:
        with redis_errors():
            try:
                answer = self._group_read(start, count, block_ms)
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                # Redis has lost its data, or this is the first start.
                self._create_group()
                answer = self._group_read(start, count, block_ms)
        entries = answer[0][1] if answer else []
        return [Delivery(entry_id, fields.get("event", "")) for entry_id, fields in entries if fields]

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

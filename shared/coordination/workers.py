"""The workers that are alive: each node says so every few seconds, and is gone when it stops saying so."""

from __future__ import annotations

from datetime import datetime

import redis
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.coordination.connection import PREFIX, redis_errors


class WorkerBeat(BaseModel):
    """What a node says of itself."""

    model_config = ConfigDict(frozen=True)

    worker_id: str
    device: str
    weights: str
    started_at: datetime
    at: datetime


class WorkerRegistry:
    """All nodes that are alive. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis, *, worker_seconds: float = 30) -> None:
        self._client = client
        self._keep_ms = int(worker_seconds * 1000)

    def beat(self, beat: WorkerBeat) -> None:
        """Say that a node is alive."""
        with redis_errors():
            self._client.set(_key(beat.worker_id), beat.model_dump_json(), px=self._keep_ms)

    def leave(self, worker_id: str) -> None:
        """Say that a node is going."""
        with redis_errors():
            self._client.delete(_key(worker_id))

    def alive(self) -> list[WorkerBeat]:
        """Return the nodes that are alive, sorted by id."""
        with redis_errors():
            keys = sorted(self._client.scan_iter(match=_key("*"), count=500))
            texts = self._client.mget(keys) if keys else []
        beats = []
        for text in texts:
            try:
                if text is not None:
                    beats.append(WorkerBeat.model_validate_json(text))
            except ValidationError:
                continue  # a node of another version during an upgrade
        return beats


def _key(worker_id: str) -> str:
    return f"{PREFIX}worker:{worker_id}"

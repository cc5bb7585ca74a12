"""The live progress of running attempts, and the flags that ask their workers to stop. In Redis only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice

import redis
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.logs import get_logger
from shared.protocol import Count
from shared.redis.connection import redis_errors
from shared.redis.names import Names

_KEEP_SECONDS = 24 * 3600
_PAGE = 500
_log = get_logger(__name__)


class LiveProgress(BaseModel):
    """Where an attempt is; losses by part; `preview_step` is 0 while there is no preview."""

    model_config = ConfigDict(frozen=True)

    attempt: Count
    step: Count
    steps: Count
    loss_total: float
    loss_content: float
    loss_style: float
    steps_per_second: float | None
    preview_step: Count = 0


class ProgressStore:
    """The live progress of all jobs. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._client = client
        self._names = names

    def publish(self, job_id: str, progress: LiveProgress) -> None:
        """Replace a job's progress and notify its watchers."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.set(self._progress_key(job_id), progress.model_dump_json(), ex=_KEEP_SECONDS)
            pipeline.publish(self._channel(job_id), "progress")
            pipeline.execute()

    def read(self, job_ids: list[str]) -> dict[str, LiveProgress]:
        """Return the progress of those of the jobs that have some."""
        if not job_ids:
            return {}
        with redis_errors():
            texts = self._client.mget([self._progress_key(job_id) for job_id in job_ids])
        found = {}
        for job_id, text in zip(job_ids, texts, strict=True):
            try:
                if text is not None:
                    found[job_id] = LiveProgress.model_validate_json(text)
            except (ValidationError, UnicodeError) as error:
                # Written by another version during an upgrade, or by nobody of ours.
                _log.warning("progress_unreadable", job_id=job_id, reason=str(error))
        return found

    def notify(self, *job_ids: str) -> None:
        """Notify the watchers of the jobs that the rows have changed."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.publish(self._channel(job_id), "changed")
            pipeline.execute()

    @contextmanager
    def watch(self, job_id: str) -> Iterator[redis.client.PubSub]:
        """Subscribe to a job's channel; ``get_message(timeout=seconds)`` then waits for the next change."""
        pubsub: redis.client.PubSub = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        with redis_errors(), pubsub:
            pubsub.subscribe(self._channel(job_id))
            yield pubsub

    @contextmanager
    def watch_all(self) -> Iterator[redis.client.PubSub]:
        """Subscribe to the channels of all jobs; `job_of` tells whose a message is."""
        pubsub: redis.client.PubSub = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        with redis_errors(), pubsub:
            pubsub.psubscribe(self._channel("*"))
            yield pubsub

    def job_of(self, channel: str) -> str:
        """Return the id of the job whose channel this is."""
        return channel.removeprefix(self._channel(""))

    def _progress_key(self, job_id: str) -> str:
        return self._names.key("progress", job_id)

    def _channel(self, job_id: str) -> str:
        return self._names.key("watch", job_id)


class Flag(StrEnum):
    """A request to the worker of a running job."""

    CANCEL = "cancel"
    PAUSE = "pause"


class Flags:
    """The flags of all jobs. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._client = client
        self._names = names

    def raise_flag(self, job_id: str, attempt: int, flag: Flag) -> None:
        """Set the flag of an attempt, in place of an earlier one; later attempts do not see it."""
        with redis_errors():
            self._client.set(self._flag_key(job_id, attempt), flag.value, ex=_KEEP_SECONDS)

    def read(self, job_id: str, attempt: int) -> Flag | None:
        """Return the flag of an attempt, if one is set."""
        with redis_errors():
            # Not GET: that fails on a key of another type, and MGET takes it for none.
            value = self._client.mget([self._flag_key(job_id, attempt)])[0]
        return Flag(value) if value in list(Flag) else None

    def clear(self) -> None:
        """Remove the flags of all jobs; those that still matter are raised again by control."""
        with redis_errors():
            for keys in _pages(self._client.scan_iter(match=self._names.key("flag", "*"), count=_PAGE)):
                self._client.delete(*keys)

    def _flag_key(self, job_id: str, attempt: int) -> str:
        return self._names.key("flag", job_id, attempt)


def _pages(keys: Iterator[str]) -> Iterator[list[str]]:
    while page := list(islice(keys, _PAGE)):
        yield page

"""What metrics are made of, read at most once in some seconds: from database, Redis and storage.

Each is read alone, in a thread that may hang: what does not answer is missing, and says so, and the others
are told. However many scrape, and however much waits, a reading costs the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.broker import ROUTES
from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, RedisUnavailable
from shared.logs import get_logger
from shared.protocol import new_id
from shared.redis.connection import redis_errors
from shared.redis.control import ControlBeat
from shared.redis.stream import StreamBacklog
from shared.redis.workers import WorkerBeat
from shared.status import DEFAULT_PRIORITY, JobStatus
from shared.storage.store import Room
from web.backend import Backend
from web.db.models import Asset, Job
from web.db.totals import Totals, read_totals
from web.jobs.estimates import wait_ahead
from web.jobs.fairness import FlowKey
from web.jobs.line import read_shared_queue
from web.jobs.places import place_to_join
from web.jobs.waits import Range
from web.metrics.line import Part, read_parts
from web.webhooks.outbox import Backlog, count_pending

#: So old something may be when it is told without being read again.
FRESH_SECONDS = 5.0
#: A reading that takes long is done again only after so many times as long: it costs at most a twentieth.
_REST = 20
#: While a reading is not done in time, what was read before is told until it is so old.
_OLDEST_SECONDS = 60.0
#: No caller has this name: it has nothing that waits.
_NOBODY = ""
_log = get_logger(__name__)


@dataclass(frozen=True)
class DatabaseFacts:
    """What the database tells."""

    parts: Sequence[Part]
    #: By status.
    jobs: Mapping[str, int]
    waiting_for_others: int
    totals: Totals
    messages: Backlog
    #: Of all pictures that were uploaded.
    picture_bytes: int
    size_bytes: int
    room: Room | None
    at: datetime


@dataclass(frozen=True)
class RedisFacts:
    """What Redis tells: heartbeats, and how much lies there."""

    workers: Sequence[WorkerBeat]
    control: ControlBeat | None
    reports: StreamBacklog
    set_aside: int
    #: By route: the messages that lie in the broker.
    messages: Mapping[str, int]


@dataclass(frozen=True)
class StorageFacts:
    """What the storage tells; without a room one that has none, such as a bucket."""

    room: Room | None


@dataclass(frozen=True)
class Outlook:
    """By route: what a job of the usual priority that joins its line now is told to wait; None if unknown."""

    waits: Mapping[str, Range | None]


@dataclass(frozen=True)
class Snapshot:
    """All that was read; None is what did not answer."""

    database: DatabaseFacts | None = None
    redis: RedisFacts | None = None
    storage: StorageFacts | None = None
    outlook: Outlook | None = None
    #: By source: how old what is told of it is, in seconds.
    ages: Mapping[str, float] = field(default_factory=dict)
    #: How long it took to put it together, now.
    seconds: float = 0.0


@dataclass
class _Kept:
    """What was read last of a source; when that was begun, by a monotonic clock; how long it took."""

    facts: Any = None
    at: float = float("-inf")
    took_seconds: float = 0.0


class MetricsReader:
    """Reads what metrics are made of; for any number of threads."""

    def __init__(
        self,
        backend: Backend,
        *,
        fresh_seconds: float = FRESH_SECONDS,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to read; `fresh_seconds` is how old what is told may be, 0 reads it anew each time."""
        self.fresh_seconds = fresh_seconds
        self._backend = backend
        self._now = now
        self._monotonic = monotonic
        self._kept: Mapping[str, _Kept] = {
            name: _Kept() for name in ("database", "redis", "storage", "outlook")
        }
        self._sources: Mapping[str, Callable[[], Any]] = {
            "database": self._read_database,
            "redis": self._read_redis,
            "storage": lambda: StorageFacts(backend.storage.room()),
            "outlook": self._read_outlook,
        }

    def read(
        self, run: Callable[[Mapping[str, Callable[[], None]]], Mapping[str, Exception | None]]
    ) -> Snapshot:
        """Return what there is; what is too old is read again.

        Args:
            run: Runs checks at once, each in a thread of its own, and returns in time what each raised; as
                `web.services.Checkup.run` does. Who asks while one runs waits for that one.
        """
        began = self._monotonic()
        due = [name for name, kept in self._kept.items() if self._is_due(kept, began)]
        errors = run({f"metrics of {name}": self._refresher(name) for name in due})
        found: dict[str, Any] = {}
        ages: dict[str, float] = {}
        for name, kept in self._kept.items():
            error, age = errors.get(f"metrics of {name}"), self._monotonic() - kept.at
            if error is not None:
                self._tell(name, error)
            # One that takes long, as where very much waits, is there for the next who asks.
            if error is None or (isinstance(error, TimeoutError) and age <= _OLDEST_SECONDS):
                found[name], ages[name] = kept.facts, age
        return Snapshot(**found, ages=ages, seconds=self._monotonic() - began)

    def _is_due(self, kept: _Kept, now: float) -> bool:
        rest = max(self.fresh_seconds, _REST * kept.took_seconds if self.fresh_seconds else 0)
        return now - kept.at >= min(rest, _OLDEST_SECONDS)

    def _refresher(self, name: str) -> Callable[[], None]:
        def refresh() -> None:
            kept, at = self._kept[name], self._monotonic()
            kept.facts = self._sources[name]()
            kept.at, kept.took_seconds = at, self._monotonic() - at

        return refresh

    def _tell(self, name: str, error: Exception) -> None:
        if not isinstance(error, DatabaseUnavailable | RedisUnavailable | TimeoutError):
            _log.error("metrics_not_read", source=name, reason=f"{type(error).__name__}: {error}")
        else:
            _log.warning("metrics_not_read", source=name, reason=str(error))

    def _read_database(self) -> DatabaseFacts:
        database, now = self._backend.database, self._now()
        with database.read() as session:
            return DatabaseFacts(
                parts=read_parts(session, now=now),
                jobs=_count_jobs(session),
                waiting_for_others=_count_followers(session),
                totals=read_totals(session),
                messages=count_pending(session),
                picture_bytes=session.scalar(select(func.sum(Asset.size_bytes))) or 0,
                size_bytes=database.size_bytes(),
                room=database.room(),
                at=now,
            )

    def _read_redis(self) -> RedisFacts:
        redis = self._backend.redis
        with redis_errors():
            pipeline = redis.client.pipeline(transaction=False)
            queues = [(route, key) for route in ROUTES for key in redis.names.queue_lists(route)]
            for _, key in queues:
                pipeline.llen(key)
            lengths = pipeline.execute(raise_on_error=False)
        messages = dict.fromkeys(ROUTES, 0)
        for (route, _), length in zip(queues, lengths, strict=True):
            messages[route] += length if isinstance(length, int) else 0
        return RedisFacts(
            workers=sorted([*redis.workers.alive(), *redis.lobby.alive()], key=lambda beat: beat.worker_id),
            control=redis.control.read(),
            reports=redis.stream.backlog(),
            set_aside=redis.set_aside.count(),
            messages=messages,
        )

    def _read_outlook(self) -> Outlook:
        waits: dict[str, Range | None] = {}
        for route in ROUTES:
            queue, flow = read_shared_queue(self._backend, route), FlowKey(_NOBODY, route, DEFAULT_PRIORITY)
            with self._backend.database.read() as session:
                position = place_to_join(session, flow, self._now(), new_id())
            waits[route] = wait_ahead(position, queue)
        return Outlook(waits)


def _count_jobs(session: Session) -> dict[str, int]:
    # One by one: each is counted by an index alone, and nothing is sorted.
    count = select(func.count()).select_from(Job)
    return {
        status.value: session.scalar(count.where(Job.status == status.value)) or 0 for status in JobStatus
    }


def _count_followers(session: Session) -> int:
    query = select(func.count()).where(Job.status == JobStatus.QUEUED.value, Job.leader_id.is_not(None))
    return session.scalar(query) or 0

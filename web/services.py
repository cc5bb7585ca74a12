"""Places for requests that take long: a fixed number of them, and nobody queues for one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import redis
from flask import Flask, current_app

from shared.redis.connection import connect_redis
from shared.redis.live import Flags, ProgressStore
from shared.redis.workers import WorkerRegistry
from shared.settings import Settings
from shared.storage import open_store
from shared.storage.store import ArtifactStore
from web.assets.uploads import AssetShelf, is_picture_used
from web.backend import LiveReader
from web.db.database import Database
from web.jobs.idempotency import KeysInFlight


class Slots:
    """Counts places; `count` may be 0, then there is never a free one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.Semaphore(count)

    def take(self) -> bool:
        """Take a place if one is free."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Give a place back that was taken."""
        self._free.release()


_KEY = "atelier"
#: Pictures decoded at once: one of 40 megapixels takes up to 160 MB.
_DECODERS = 2
_REDIS_SECONDS = 2


@dataclass(frozen=True)
class StreamTiming:
    """The pace of an event stream, all in seconds."""

    progress_seconds: float = 0.5
    comment_seconds: float = 15
    stream_seconds: float = 300


@dataclass(frozen=True)
class Services:
    """Everything a view may use. Half of the threads may stream, a quarter may wait."""

    settings: Settings
    database: Database
    storage: ArtifactStore
    redis: redis.Redis
    flags: Flags
    board: ProgressStore
    live: LiveReader
    registry: WorkerRegistry
    shelf: AssetShelf
    decoding: threading.Semaphore
    streams: Slots
    waits: Slots
    keys_in_flight: KeysInFlight = field(default_factory=KeysInFlight)
    #: Set when the process is about to end: streams and waits end too.
    stopping: threading.Event = field(default_factory=threading.Event)
    timing: StreamTiming = field(default_factory=StreamTiming)

    def close(self) -> None:
        """Give all connections back."""
        self.stopping.set()
        self.redis.close()
        self.database.close()


def open_services(settings: Settings) -> Services:
    """Connect everything; the database is brought to this version, Redis need not be there.

    Raises:
        DatabaseUnavailable: when the database cannot be opened.
        InvalidSettings: when the storage's URL is not known.
    """
    storage = open_store(settings.resolved_storage_url)
    database = Database(settings.resolved_database_url)
    database.upgrade()
    client = connect_redis(settings)
    # Someone waits for the answer, and can do without: one that hangs must not cost a request 10 s.
    client.connection_pool.connection_kwargs["socket_timeout"] = _REDIS_SECONDS
    board = ProgressStore(client)
    registry = WorkerRegistry(client, worker_seconds=settings.worker_seconds)

    def is_used(sha256: str) -> bool:
        with database.read() as session:
            return is_picture_used(session, sha256)

    return Services(
        settings=settings,
        database=database,
        storage=storage,
        redis=client,
        flags=Flags(client),
        board=board,
        live=LiveReader(board, registry),
        registry=registry,
        shelf=AssetShelf(storage, is_used=is_used),
        decoding=threading.BoundedSemaphore(_DECODERS),
        streams=Slots(settings.web_threads // 2),
        waits=Slots(settings.web_threads // 4),
    )


def hold_services(app: Flask, services: Services) -> None:
    """Let an app hold the services, in place of those it held before."""
    app.extensions[_KEY] = services


def services_of(app: Flask) -> Services:
    """Return the services that an app holds."""
    services: Services = app.extensions[_KEY]
    return services


def get_services() -> Services:
    """Return the services of the app that is answering."""
    return services_of(current_app)

"""What the views work with: the backend, and the limits and timing of this web process; held by the app."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from flask import Flask, current_app

from shared.settings import Settings
from web.assets.thumbnails import Thumbnails
from web.assets.uploads import Uploads
from web.backend import Backend
from web.jobs.idempotency import KeysInFlight

_KEY = "atelier"
#: Pictures decoded at once: one of 40 megapixels takes up to 160 MB.
_DECODERS = 2
#: Someone waits for the answer, and can do without Redis: one that hangs must not cost a request 10 s.
_REDIS_SECONDS = 2


class ConcurrencyLimit:
    """A fixed number of places for requests that take long; nobody queues for one. `count` may be 0."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.Semaphore(count)

    def take(self) -> bool:
        """Take a place if one is free."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Give a place back that was taken."""
        self._free.release()


@dataclass(frozen=True)
class StreamTiming:
    """The pace of an event stream, all in seconds."""

    progress_seconds: float = 0.5
    comment_seconds: float = 15
    stream_seconds: float = 300


@dataclass(frozen=True)
class Services:
    """Everything a view may use. Half of the threads may stream, a quarter may wait."""

    backend: Backend
    uploads: Uploads
    thumbnails: Thumbnails
    streams: ConcurrencyLimit
    waits: ConcurrencyLimit
    keys_in_flight: KeysInFlight = field(default_factory=KeysInFlight)
    #: Set when the process is about to end: streams and waits end too.
    stopping: threading.Event = field(default_factory=threading.Event)
    timing: StreamTiming = field(default_factory=StreamTiming)

    def close(self) -> None:
        """Give all connections back."""
        self.stopping.set()
        self.backend.close()


def open_services(settings: Settings) -> Services:
    """Open the backend and what the process needs besides; raises what `Backend.open` does."""
    return make_services(
        Backend.open(settings, reply_seconds=_REDIS_SECONDS), threading.BoundedSemaphore(_DECODERS)
    )


def make_services(backend: Backend, decoding: threading.Semaphore) -> Services:
    """Return the services over a backend; `decoding` admits so many requests at once to decode pictures."""
    threads = backend.settings.web_threads
    return Services(
        backend=backend,
        uploads=Uploads(backend, decoding),
        thumbnails=Thumbnails(backend.storage, decoding),
        streams=ConcurrencyLimit(threads // 2),
        waits=ConcurrencyLimit(threads // 4),
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


def get_backend() -> Backend:
    """Return the backend of the app that is answering."""
    return get_services().backend

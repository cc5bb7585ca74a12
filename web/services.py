"""The services of the views: the backend, and the limits and timing of this web process; held by the app."""

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
#: Requests work without Redis: one that hangs must not delay an answer by 10 s.
_REDIS_SECONDS = 2


class ConcurrencyLimit:
    """A fixed number of places for long requests; there is no waiting for a place. `count` may be 0."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.Semaphore(count)

    def take(self) -> bool:
        """Take a place if one is free."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Return a place that was taken."""
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
    #: Set when the process is about to end; streams and waits end then.
    stopping: threading.Event = field(default_factory=threading.Event)
    timing: StreamTiming = field(default_factory=StreamTiming)

    def close(self) -> None:
        """Close all connections."""
        self.stopping.set()
        self.backend.close()


def open_services(settings: Settings) -> Services:
    """Open the backend, and return the services over it; raises what `Backend.open` does."""
    return make_services(
        Backend.open(settings, reply_seconds=_REDIS_SECONDS), threading.BoundedSemaphore(_DECODERS)
    )


def make_services(backend: Backend, decoding: threading.Semaphore) -> Services:
    """Return the services over a backend; `decoding` limits how many requests decode pictures at once."""
    threads = backend.settings.web_threads
    return Services(
        backend=backend,
        uploads=Uploads(backend, decoding),
        thumbnails=Thumbnails(backend.storage, decoding),
        streams=ConcurrencyLimit(threads // 2),
        waits=ConcurrencyLimit(threads // 4),
    )


def hold_services(app: Flask, services: Services) -> None:
    """Store the services in an app, in place of earlier ones."""
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

"""The services of the views: the backend, and the limits and timing of this web process; held by the app."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, current_app

from shared.settings import Settings
from web.access.attempts import SignInAttempts
from web.access.gate import Gate
from web.access.rates import RequestRates
from web.assets.thumbnails import Thumbnails
from web.assets.uploads import Uploads
from web.backend import Backend
from web.jobs.counts import StatusCounts
from web.jobs.idempotency import KeysInFlight
from web.metrics.reading import MetricsReader
from web.shared_reads import KeptAnswers

_KEY = "atelier"
#: Of all numbers, multiples of this one lie furthest apart.
_GOLDEN = (5**0.5 - 1) / 2
#: Pictures decoded at once: one of 40 megapixels takes up to 160 MB.
_DECODERS = 2
#: Requests work without Redis: one that hangs must not delay an answer by 10 s.
_REDIS_SECONDS = 2
#: How long somebody who asks whether the service is well waits for an answer.
_CHECK_SECONDS = 2.0
#: Streams and waits at once. None holds a thread, but each looks at the database every other second.
_STREAMS = 500
_WAITS = 250


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


class OwnPlaces:
    """Places for long requests by the caller whom they are for; there is no waiting for a place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, caller: str, *, most: int) -> bool:
        """Take a place for a caller unless they have `most`; 0 is no limit."""
        with self._lock:
            if most and self._taken[caller] >= most:
                return False
            self._taken[caller] += 1
            return True

    def give_back(self, caller: str) -> None:
        """Return a place that was taken."""
        with self._lock:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]

    def taken(self, caller: str) -> int:
        """Return how many places a caller has."""
        return self._taken.get(caller, 0)


class Spread:
    """Numbers from 0 to 1, each far from those before: what is done at them is not done at once."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def next(self) -> float:
        """Return the next one; the first is 0."""
        return next(self._numbers) * _GOLDEN % 1.0


class _Check(threading.Thread):
    """One check that is being carried out; `error` is what it raised."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        super().__init__(name=f"check-{name}", daemon=True)
        self._act = act
        self.error: Exception | None = None

    def run(self) -> None:
        """Carry it out."""
        try:
            self._act()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            self.error = error


class Checkup:
    """Checks of the parts of the service, which may hang: each runs in a thread of its own.

    Who asks while a check runs waits for that one: threads do not pile up behind a disk that is gone.
    """

    def __init__(self, *, seconds: float = _CHECK_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._running: dict[str, _Check] = {}

    def run(self, checks: Mapping[str, Callable[[], None]]) -> dict[str, Exception | None]:
        """Run all checks at once; return what each raised, a `TimeoutError` for one that takes too long."""
        deadline = time.monotonic() + self._seconds
        running = {name: self._join(name, act) for name, act in checks.items()}
        found: dict[str, Exception | None] = {}
        for name, check in running.items():
            check.join(max(0.0, deadline - time.monotonic()))
            is_late = check.is_alive()
            found[name] = TimeoutError(f"no answer within {self._seconds:g} s") if is_late else check.error
        return found

    def _join(self, name: str, act: Callable[[], None]) -> _Check:
        with self._lock:
            check = self._running.get(name)
            if check is None or not check.is_alive():
                check = self._running[name] = _Check(name, act)
                check.start()
            return check


@dataclass(frozen=True)
class StreamTiming:
    """The pace of an event stream, all in seconds."""

    progress_seconds: float = 0.5
    comment_seconds: float = 15
    stream_seconds: float = 300


@dataclass(frozen=True)
class Services:
    """Everything a view may use."""

    backend: Backend
    uploads: Uploads
    thumbnails: Thumbnails
    streams: ConcurrencyLimit
    waits: ConcurrencyLimit
    gate: Gate
    rates: RequestRates
    metrics: MetricsReader
    #: Of each caller among `streams`.
    own_streams: OwnPlaces = field(default_factory=OwnPlaces)
    sign_ins: SignInAttempts = field(default_factory=SignInAttempts)
    checkup: Checkup = field(default_factory=Checkup)
    keys_in_flight: KeysInFlight = field(default_factory=KeysInFlight)
    #: Set when the process is about to end; streams and waits end then.
    stopping: threading.Event = field(default_factory=threading.Event)
    timing: StreamTiming = field(default_factory=StreamTiming)
    counts: StatusCounts = field(default_factory=StatusCounts)
    #: For what many clients would otherwise make happen at the same moment.
    spread: Spread = field(default_factory=Spread)
    #: What was rendered last of each job that is asked for; see `web.api.rendered_jobs`.
    answers: KeptAnswers[Any] = field(default_factory=KeptAnswers)

    def close(self) -> None:
        """Close all connections."""
        self.stopping.set()
        self.rates.close()
        self.backend.close()


def open_services(settings: Settings) -> Services:
    """Open the backend, and return the services over it; raises what `Backend.open` does."""
    return make_services(
        Backend.open(settings, reply_seconds=_REDIS_SECONDS), threading.BoundedSemaphore(_DECODERS)
    )


def make_services(backend: Backend, decoding: threading.Semaphore) -> Services:
    """Return the services over a backend; `decoding` limits how many requests decode pictures at once."""
    return Services(
        backend=backend,
        uploads=Uploads(backend, decoding),
        thumbnails=Thumbnails(backend.storage, decoding),
        streams=ConcurrencyLimit(_STREAMS),
        waits=ConcurrencyLimit(_WAITS),
        gate=Gate(backend.database),
        rates=RequestRates(backend.redis.rates, backend.settings),
        metrics=MetricsReader(backend),
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

"""The control process: one loop over projector, dispatcher, rescuer, pruner and the other parts."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Event
from time import monotonic
from types import FrameType

from shared.broker import Dispatch
from shared.clock import utc_now
from shared.errors import ServiceError
from shared.logs import configure_logs, get_logger
from shared.settings import Settings
from web.backend import Backend
from web.control.deadlines import Deadlines
from web.control.dispatcher import Dispatcher
from web.control.followers import Followers
from web.control.projector import Projector
from web.control.pruner import Pruner
from web.control.rescuer import Rescuer
from web.jobs.restored import settle_restore

_log = get_logger(__name__)
_RETRY_SECONDS = 1.0


class Control:
    """All parts of the control process, run in rounds; `clock_seconds` is monotonic."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        clock_seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._settings = settings
        self._clock_seconds = clock_seconds
        self.clock = clock
        self.backend = backend = Backend.open(settings)
        self._dispatch = Dispatch(settings, backend.redis)
        self._knows_redis = self._is_settled = False
        self.projector = Projector(backend, clock=clock)
        self.dispatcher = Dispatcher(backend, self._dispatch, clock=clock)
        self.rescuer = Rescuer(backend, clock=clock)
        self.deadlines = Deadlines(backend, clock=clock)
        self.followers = Followers(backend, clock=clock)
        self.pruner = Pruner(backend, clock=clock)
        self._next_rescue = clock_seconds()
        self._next_prune = clock_seconds() + settings.prune_seconds

    def round(self) -> None:
        """Apply reports and send due messages; at intervals rescue lost jobs and remove garbage.

        Raises:
            ServiceError: when Redis, database or storage failed; the next round continues where it stopped.
        """
        try:
            if not self._is_settled:
                settle_restore(self.backend)
                self._is_settled = True
            self._apply_reports()
            self.deadlines.expire()
            self.followers.follow()
            self.dispatcher.send_due()
            if self.backend.redis.epoch.is_new():
                # At the first start that is normal; later Redis has lost its data.
                log = _log.warning if self._knows_redis else _log.info
                log("redis_is_new", detail="it has no data of an earlier time")
                self.hold_rescues()
            self._knows_redis = True
            if self._clock_seconds() >= self._next_rescue:
                self._next_rescue = self._clock_seconds() + self._settings.rescue_seconds
                self.rescuer.rescue(self.projector)
                self.dispatcher.send_lost(self.projector)
            if self._clock_seconds() >= self._next_prune:
                self._next_prune = self._clock_seconds() + self._settings.prune_seconds
                self.pruner.step()
        except ServiceError:
            self.hold_rescues()
            raise

    def _apply_reports(self) -> None:
        """Apply reports as they arrive, until it is time to look for due jobs."""
        looks_at = self._clock_seconds() + self._settings.dispatch_seconds
        left_seconds = self._settings.dispatch_seconds
        while left_seconds > 0 and self.projector.step(block_ms=max(1, int(left_seconds * 1000))):
            left_seconds = looks_at - self._clock_seconds()

    def hold_rescues(self) -> None:
        """Give the workers time to renew their leases after Redis was away or lost its data."""
        pause = 2 * self._settings.renew_seconds
        self._next_rescue = max(self._next_rescue, self._clock_seconds() + pause)

    def close(self) -> None:
        """Close all connections."""
        self._dispatch.close()
        self.backend.close()


def run_control(settings: Settings) -> None:
    """Run rounds until SIGTERM or SIGINT; then apply the last reports, and return."""
    configure_logs(settings)
    stopping = Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    control = Control(settings)
    _log.info("control_started")
    while not stopping.is_set():
        if _try(control.round, stopping) and settings.health_file:
            Path(settings.health_file).touch()
    _try(control.projector.drain, stopping)
    control.close()
    _log.info("control_stopped")


def _try(action: Callable[[], None], stopping: Event) -> bool:
    try:
        action()
    except ServiceError as error:
        _log.error("service_unavailable", code=error.code, detail=error.detail)
        stopping.wait(_RETRY_SECONDS)
        return False
    return True

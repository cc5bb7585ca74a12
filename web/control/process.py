"""The control process: one loop over projector, dispatcher, rescuer, pruner and the other parts.

Each part runs alone: one that fails is logged, told in the heartbeat, and tried again after a while, and the
others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from threading import Event, Thread
from time import monotonic

from shared.broker import Dispatch
from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, DatabaseUnusable, RedisUnavailable, StorageUnavailable
from shared.logs import configure_logs, get_logger
from shared.processes import StopSignal, keep_private
from shared.redis.connection import require_fit_redis
from shared.redis.control import BEAT_SECONDS, ControlBeat
from shared.release import this_release
from shared.settings import Settings, touch_health_file
from web.backend import Backend
from web.control.deadlines import Deadlines
from web.control.deliverer import Deliverer
from web.control.dispatcher import Dispatcher
from web.control.first_release import FirstReleaseNodes
from web.control.followers import Followers
from web.control.parts import Part, run_parts
from web.control.projector import Projector
from web.control.pruner import Pruner
from web.control.rescuer import Rescuer
from web.control.stale import StaleAttempts
from web.jobs.restored import settle_restore

_log = get_logger(__name__)
_RETRY_SECONDS = 1.0
#: Redis is not asked to wait for longer: its client would take that for no answer.
_LONGEST_WAIT_SECONDS = 5.0


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
        stale = StaleAttempts(backend, clock=clock)
        self.projector = Projector(backend, clock=clock)
        self.dispatcher = Dispatcher(backend, self._dispatch, stale, clock=clock)
        self.rescuer = Rescuer(backend, stale, clock=clock)
        self.deadlines = Deadlines(backend, clock=clock)
        self.followers = Followers(backend, clock=clock)
        self.pruner = Pruner(backend, clock=clock)
        self._started_at = clock()
        now = clock_seconds()
        rescue, prune = settings.rescue_seconds, settings.prune_seconds
        self._reports = Part("reports", self._apply_reports)
        self._rescue = Part("rescue", self._rescue_lost, every_seconds=rescue)
        self._lost = Part("lost messages", self._send_lost, every_seconds=rescue)
        self.first_release = (
            FirstReleaseNodes(backend, clock=clock) if backend.identity.from_first_release else None
        )
        self._first = [] if self.first_release is None else [Part("first release", self.first_release.step)]
        self._parts = [
            *self._first,
            Part("restore", self._settle),
            self._reports,
            Part("deadlines", self.deadlines.expire, rests_on=self._rows),
            Part("followers", self.followers.follow, rests_on=self._rows),
            Part("dispatch", self._send_due, rests_on=self._rows),
            Part("loss of Redis", self._look_for_loss),
            self._rescue,
            self._lost,
            Part("given-up states", self.projector.given_up.remove_due),
            Part("prune", self._prune, every_seconds=prune, due_at=now + prune),
        ]
        self._at: tuple[str, float] | None = None
        #: Beside the rounds; started by `run_control`.
        self.deliverer = Deliverer(backend, clock=clock)

    def round(self) -> bool:
        """Apply reports and send due messages; at intervals rescue lost jobs and remove garbage.

        A part that fails holds up no other; the next round that it is due in continues where it stopped.
        Returns whether all is well.
        """
        for part in run_parts(self._parts, clock_seconds=self._clock_seconds, begin=self._note):
            if part.failed_for_service:
                self.hold_rescues()
        self._at = None
        return not self.faults

    @property
    def faults(self) -> dict[str, str]:
        """What went wrong when a part ran last, by the part's name: a sentence without addresses."""
        found = {part.name: part.fault for part in self._parts if part.fault is not None}
        return found if self.deliverer.fault is None else {**found, "webhooks": self.deliverer.fault}

    @property
    def waits(self) -> bool:
        """Whether a round returns at once: its reports, for which it waits as a rule, are not to be had."""
        return self._reports.fault is not None

    @property
    def wait_seconds(self) -> float:
        """How long a round waits for reports, or takes at least when there are none to be had."""
        return min(self._settings.dispatch_seconds, _LONGEST_WAIT_SECONDS)

    def beat(self) -> None:
        """Tell web how control is. May be called from another thread than the rounds.

        Raises:
            RedisUnavailable: when it cannot be told.
        """
        at, release = self._at, this_release()
        self.backend.redis.control.beat(
            ControlBeat(
                version=release.version,
                build=release.build,
                started_at=self._started_at,
                at=self.clock(),
                part=at[0] if at else None,
                part_seconds=max(0.0, self._clock_seconds() - at[1]) if at else 0,
                faults=self.faults,
                skipped=self.skipped,
            )
        )

    @property
    def skipped(self) -> int:
        """How many items could not be read or acted on since the start."""
        parts = (self.projector, self.dispatcher, self.rescuer, self.deadlines, self.followers)
        return sum(part.skipped for part in parts)

    def hold_rescues(self) -> None:
        """Give the workers time to renew their leases after Redis was away or lost its data."""
        until = self._clock_seconds() + 2 * self._settings.renew_seconds
        for part in (self._rescue, self._lost):
            part.hold(until)

    def close(self) -> None:
        """Close all connections."""
        if self.first_release is not None:
            self.first_release.close()
        self._dispatch.close()
        self.backend.close()

    def _note(self, part: Part) -> None:
        self._at = part.name, self._clock_seconds()

    def _rows(self) -> Hashable | None:
        """Return what is the same as long as nobody writes to the database, for a second at most.

        None of a database that does not tell.
        """
        mark = self.backend.database.mark()
        return None if mark is None else (mark, int(self.clock().timestamp()))

    def _settle(self) -> None:
        """After a restore, let Redis forget the time before it, once."""
        if not self._is_settled:
            settle_restore(self.backend)
            self._is_settled = True

    def _send_due(self) -> bool:
        self._settle()  # what is left of that time would stop what is sent now
        return self.dispatcher.send_due() > 0

    def _apply_reports(self) -> None:
        """Apply reports as they arrive, until it is time to look for due jobs."""
        left_seconds = self.wait_seconds
        looks_at = self._clock_seconds() + left_seconds
        while left_seconds > 0 and self.projector.step(block_ms=max(1, int(left_seconds * 1000))):
            left_seconds = looks_at - self._clock_seconds()

    def _rescue_lost(self) -> None:
        if self._knows_leases():
            self.rescuer.rescue(self.projector)

    def _send_lost(self) -> None:
        if self._knows_leases():
            self.dispatcher.send_lost(self.projector)

    def _knows_leases(self) -> bool:
        """Whether nobody's leases are hidden: those of the first release's nodes are carried across."""
        return all(part.fault is None for part in self._first)

    def _prune(self) -> None:
        self.backend.check_storage()
        self.pruner.step()

    def _look_for_loss(self) -> None:
        """Hold rescues when Redis has lost its data: leases are gone, and their holders take them again."""
        if self.backend.redis.epoch.is_new():
            # At the first start that is normal; later Redis has lost its data.
            log = _log.warning if self._knows_redis else _log.info
            log("redis_is_new", detail="it has no data of an earlier time")
            self.hold_rescues()
        self._knows_redis = True


def run_control(settings: Settings) -> None:
    """Run rounds until SIGTERM or SIGINT; then apply the last reports, and return.

    Raises:
        ServiceError: at once for what waiting does not mend, such as a Redis that is too old.
    """
    keep_private()
    configure_logs(settings)
    require_fit_redis(settings)
    with StopSignal() as stopping:
        control = _open(settings, stopping)
        if control is not None:
            _work(settings, control, stopping)


def _work(settings: Settings, control: Control, stopping: StopSignal) -> None:
    ended = Event()
    beating = Thread(target=_beat_until, args=(control, ended), name="heartbeat", daemon=True)
    beating.start()
    control.deliverer.start()
    _log.info("control_started")
    while not stopping.is_set():
        if control.round():
            touch_health_file(settings)
        if control.waits:
            stopping.wait(control.wait_seconds)
    Part("last reports", control.projector.drain).run(monotonic)
    control.deliverer.stop()
    ended.set()
    beating.join()
    control.close()
    _log.info("control_stopped")


def _open(settings: Settings, stopping: StopSignal) -> Control | None:
    """Return the control once database and storage can be used; None when told to stop before.

    A disk that is full or read-only for a while is waited for, as in every round. What waiting does not mend
    (a damaged database, another installation's storage) is raised.
    """
    while not stopping.is_set():
        try:
            return Control(settings)
        except (DatabaseUnavailable, StorageUnavailable) as error:
            if isinstance(error, DatabaseUnusable):
                raise
            _log.error("service_unavailable", code=error.code, detail=error.detail)
            stopping.wait(_RETRY_SECONDS)
    return None


def _beat_until(control: Control, ended: Event) -> None:
    """Beat from a thread: a part that is stuck must be told, too."""
    while True:
        try:
            control.beat()
        except RedisUnavailable as error:
            _log.warning("control_not_told", detail=error.detail)
        except Exception:  # noqa: BLE001 - whatever it is, the next beat may be told
            _log.exception("control_not_told")
        if ended.wait(BEAT_SECONDS):
            break
    try:
        control.backend.redis.control.leave()
    except RedisUnavailable as error:
        _log.warning("control_not_told", detail=error.detail)

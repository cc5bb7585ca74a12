"""The lease of a running attempt, renewed by a thread for as long as steps advance."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from types import TracebackType

from shared.errors import LeaseLost, RedisUnavailable
from shared.logs import get_logger
from shared.protocol import JobMessage
from shared.redis.claims import Claims, Verdict

#: A storage that hangs is given up by then, even if that was begun right before the stall.
_STORAGE_SECONDS = 15.0

_log = get_logger(__name__)


def is_stalled(last_step_at: float, now: float, *, stall_seconds: float) -> bool:
    """Whether a device counts as hung: no step for `stall_seconds`; times are monotonic, in seconds."""
    return now - last_step_at > stall_seconds


class LeaseKeeper:
    """Holds the lease inside a ``with`` block. A hung device is no longer renewed, so it is rescued."""

    def __init__(
        self,
        claims: Claims,
        message: JobMessage,
        *,
        token: str,
        renew_seconds: float,
        stall_seconds: float,
        on_renewed: Callable[[Verdict], None],
        on_hung: Callable[[], None] = lambda: None,
        hung_seconds: float = 0.0,
    ) -> None:
        """Prepare to hold a lease; `on_renewed` is called from its thread with each good answer.

        `on_hung` is called, also from there, when no step has come for so much longer than `stall_seconds`
        that the lease is surely lost: what the device was asked for does not come back.
        """
        self._on_hung = on_hung
        self._hung_seconds = hung_seconds
        self._claims = claims
        self._message = message
        self._token = token
        self._renew_seconds = renew_seconds
        self._stall_seconds = stall_seconds
        self._on_renewed = on_renewed
        self._last_step_at = monotonic()
        self._stopping = Event()
        self._lost = Event()
        self._attempt_ended = self._has_left = False
        self._thread = Thread(target=self._keep, name="lease", daemon=True)

    def stepped(self) -> None:
        """Note that a step was made.

        Raises:
            LeaseLost: when another node has the job now.
        """
        self._last_step_at = monotonic()
        self.check()

    def end(self) -> None:
        """Note that the attempt has ended and this is reported: no one needs to begin it again."""
        self._attempt_ended = True

    def leave_device(self) -> None:
        """Note that nothing is computed any more; what is left is to report."""
        self._has_left = True

    def check(self) -> None:
        """Raise `LeaseLost` when another node has the job now."""
        if self._lost.is_set():
            raise LeaseLost(f"attempt {self._message.attempt} of job {self._message.job_id} was taken over")

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if not self._lost.is_set():
            try:
                self._claims.release(
                    self._message.job_id, self._message.attempt, token=self._token, ended=self._attempt_ended
                )
            except RedisUnavailable:
                _log.warning("lease_not_released", job_id=self._message.job_id)  # it runs out by itself

    def _is_hung(self) -> bool:
        """Whether the device does not come back: by now whoever waits for the storage has given up."""
        patience_seconds = self._stall_seconds + max(self._hung_seconds, _STORAGE_SECONDS)
        is_late = is_stalled(self._last_step_at, monotonic(), stall_seconds=patience_seconds)
        return is_late and not self._has_left

    def _keep(self) -> None:
        while not self._stopping.wait(self._renew_seconds):
            if is_stalled(self._last_step_at, monotonic(), stall_seconds=self._stall_seconds):
                _log.error("stalled", job_id=self._message.job_id, stall_seconds=self._stall_seconds)
                if self._is_hung():
                    self._on_hung()
                continue
            try:
                verdict = self._claims.renew(self._message.job_id, self._message.attempt, token=self._token)
                if verdict in (Verdict.STALE, Verdict.HELD):
                    _log.warning("lease_lost", job_id=self._message.job_id, verdict=verdict)
                    self._lost.set()
                    return
                self._on_renewed(verdict)
            except RedisUnavailable as error:
                _log.warning("lease_not_renewed", job_id=self._message.job_id, reason=error.detail)
            except Exception:  # noqa: BLE001 - whatever it is, a lease that nobody renews is a job lost
                _log.exception("lease_not_renewed", job_id=self._message.job_id)

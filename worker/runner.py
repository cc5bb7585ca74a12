"""The runner: takes messages one after the other and carries each out, from its claim to its last report."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from shared.clock import utc_now
from shared.errors import (
    AtelierError,
    EngineFailed,
    IdentityMissing,
    IdentityWrong,
    LeaseLost,
    ServiceError,
    StorageUnavailable,
    WorkerCrashLoop,
)
from shared.logs import get_logger
from shared.protocol import EventType, JobMessage
from shared.redis.claims import Verdict
from shared.trace import trace_facts
from worker.attempt import Attempt, Engine, Outcome
from worker.context import WorkerContext
from worker.health import Blame, Health, decide_blame
from worker.lease import LeaseKeeper
from worker.reporter import Reporter
from worker.talk import Breaker, Talk

__all__ = ["Attempt", "Engine", "Outcome", "Runner"]

#: A message that comes to a node that is unhealthy waits so long for that to end, then goes back.
_UNHEALTHY_SECONDS = 5.0
#: They say that this node cannot use its storage; another one, or this one later, may.
_STORAGE_ERRORS = (StorageUnavailable, IdentityMissing, IdentityWrong)

_log = get_logger(__name__)


class Runner:
    """Carries out messages one after the other with one warm engine."""

    def __init__(
        self,
        context: WorkerContext,
        engine: Engine,
        *,
        draining: Callable[[], bool],
        on_hung: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare to carry out messages; `on_hung` is called when the device does not come back to one."""
        self._on_hung = on_hung
        self._context = context
        self._engine = engine
        self._draining = draining
        self.health = Health(context.store, context.redis.names, context.node_state)

    def run(self, message: JobMessage) -> Outcome:
        """Carry out one message.

        Raises:
            RedisUnavailable: when not even a claim can be made; nothing was done then.
        """
        with structlog.contextvars.bound_contextvars(
            job_id=message.job_id, attempt=message.attempt, **trace_facts(message.traceparent)
        ):
            context = self._context
            if not self._may_claim():
                return Outcome.RELEASED
            verdict = context.redis.claims.claim(message.job_id, message.attempt, token=context.token)
            breaker = Breaker()
            reporter = Reporter(context.live.stream, message, breaker)
            if verdict not in (Verdict.OK, Verdict.POISON):
                _log.info("message_dropped", verdict=verdict)
                return Outcome.DROPPED
            with context.node_state.busy_with(message, now=utc_now()):
                return self._run_claimed(
                    message,
                    reporter,
                    Talk(context.live, message, breaker),
                    is_poison=verdict is Verdict.POISON,
                )

    def _may_claim(self) -> bool:
        """Whether the node may take a job: it is healthy, and sees the storage of its installation."""
        if not self.health.wait(0.0 if self._draining() else _UNHEALTHY_SECONDS):
            return False
        try:
            self.health.check_storage(self._context.impatient_store(go_on=lambda: not self._draining()))
        except _STORAGE_ERRORS as error:
            self.health.lose_storage(error)
            return False
        return True

    def _run_claimed(
        self, message: JobMessage, reporter: Reporter, talk: Talk, *, is_poison: bool
    ) -> Outcome:
        """Hold the lease while the attempt runs, and turn whatever ends it into an outcome.

        One that `is_poison` has ended this node's process again and again: it is not even begun.
        """
        settings = self._context.settings
        lease = LeaseKeeper(
            self._context.redis.claims,
            message,
            token=self._context.token,
            renew_seconds=settings.renew_seconds,
            stall_seconds=settings.stall_seconds,
            on_renewed=reporter.on_renewed,
            on_hung=self._on_hung,
            hung_seconds=settings.lease_seconds,
        )

        def is_ours() -> bool:
            lease.check()
            return not self._draining()

        attempt = Attempt(
            self._context,
            self._engine,
            message,
            reporter=reporter,
            talk=talk,
            lease=lease,
            store=self._context.retrying_store(go_on=is_ours),
            draining=self._draining,
        )
        with lease:
            try:
                if is_poison:
                    raise WorkerCrashLoop(
                        f"its process was ended {settings.max_deliveries} times at this job without a word; "
                        "the machine's memory may be too small"
                    )
                outcome = attempt.run()
                if attempt.is_committed:  # one that was stopped says nothing of the node
                    self.health.succeed()
            except LeaseLost as error:
                _log.warning("attempt_abandoned", reason=error.detail)
                return Outcome.ABANDONED
            except _STORAGE_ERRORS as error:
                outcome = self._give_up_storage(attempt, error)
            except ServiceError as error:
                _log.error("attempt_abandoned", code=error.code, reason=error.detail)
                return Outcome.ABANDONED
            except AtelierError as error:
                outcome = self._end_with(attempt, reporter, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the job must not stay running
                _log.exception("engine_failed")
                outcome = self._end_with(attempt, reporter, EngineFailed(f"{type(error).__name__}: {error}"))
            lease.leave_device()
            reporter.finish()
            if outcome is Outcome.ENDED:
                lease.end()
            return outcome

    def _give_up_storage(self, attempt: Attempt, error: ServiceError) -> Outcome:
        """Hand the job back because this node cannot use its storage; it takes no more until it can."""
        self.health.lose_storage(error)
        attempt.release(reason=f"{error.code}: {error.detail}")
        return Outcome.RELEASED

    def _end_with(self, attempt: Attempt, reporter: Reporter, error: AtelierError) -> Outcome:
        """End an attempt that failed: the job fails, or is handed back when it may be the node that does."""
        blame = decide_blame(error, is_reading=attempt.is_reading)
        if blame is Blame.JOB:
            _fail(reporter, error)
            self.health.succeed()  # the engine has judged
            return Outcome.ENDED
        try:
            # A storage that went away in the middle looks like files that are missing.
            self.health.check_storage(self._context.impatient_store(go_on=lambda: not self._draining()))
        except _STORAGE_ERRORS as lost:
            return self._give_up_storage(attempt, lost)
        _log.error("attempt_faulted", code=error.code, detail=error.detail)
        if blame is Blame.NODE:
            self.health.fail(error)
        attempt.release(fault={**error.to_json(), "worker": self._context.worker_id})
        return Outcome.FAULTED


def _fail(reporter: Reporter, error: AtelierError) -> None:
    _log.error("job_failed", code=error.code, detail=error.detail)
    reporter.report(EventType.FAILED, {"error": error.to_json()}, now=utc_now())
    reporter.finish()

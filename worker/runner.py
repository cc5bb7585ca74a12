"""The runner: carries out one attempt from claim to commit. Knows no Celery."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Protocol

import structlog

from shared.clock import utc_now
from shared.coordination.claims import Verdict
from shared.errors import (
    ArtifactCorrupt,
    AtelierError,
    EngineFailed,
    LeaseLost,
    ServiceError,
    WorkerCrashLoop,
)
from shared.events import EventType
from shared.logs import get_logger
from shared.messages import InputPicture, JobMessage
from shared.options import StyleOptions
from shared.storage.store import ArtifactStore
from worker.attempt import Attempt
from worker.checkpoint import find_checkpoint, fingerprint
from worker.desk import Desk
from worker.engine.state import EngineState
from worker.engine.step import Step
from worker.engine.weights.weights import Weights
from worker.lease import LeaseKeeper
from worker.patient_store import be_patient
from worker.reporter import Reporter

_log = get_logger(__name__)


class Outcome(StrEnum):
    """What became of a message."""

    #: The attempt ended, and that is reported.
    ENDED = "ended"
    #: The message was stale or a duplicate; nothing was done.
    DROPPED = "dropped"
    #: This node is shutting down; another one should go on.
    RELEASED = "released"
    #: Something failed that may not fail elsewhere or later; the rescuer decides.
    ABANDONED = "abandoned"


class Engine(Protocol):
    """What carries out the optimisation; see `worker.engine.engine.StyleEngine`."""

    version: str

    @property
    def weights(self) -> Weights:
        """The weights it works with."""

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        """Yield one record a step."""


class Runner:
    """Carries out messages one after the other with one warm engine."""

    def __init__(self, desk: Desk, engine: Engine, *, draining: Callable[[], bool]) -> None:
        self._desk = desk
        self._engine = engine
        self._draining = draining

    def run(self, message: JobMessage) -> Outcome:
        """Carry out one message.

        Raises:
            RedisUnavailable: when not even a claim can be made; nothing was done then.
        """
        with structlog.contextvars.bound_contextvars(job_id=message.job_id, attempt=message.attempt):
            desk = self._desk
            verdict = desk.claims.claim(message.job_id, message.attempt, token=desk.worker_id)
            reporter = Reporter(desk.stream, message)
            if verdict is Verdict.POISON:
                _fail(reporter, WorkerCrashLoop(f"attempt {message.attempt} was begun too often"))
                return Outcome.ENDED
            if verdict is not Verdict.OK:
                _log.info("message_dropped", verdict=verdict)
                return Outcome.DROPPED
            with desk.slate.busy_with(message, now=utc_now()):
                return self._run_claimed(message, reporter)

    def _run_claimed(self, message: JobMessage, reporter: Reporter) -> Outcome:
        settings = self._desk.settings

        def go_on() -> bool:
            lease.check()
            return not self._draining()

        store = be_patient(
            self._desk.store,
            # Longer than this without a step, and the lease is gone anyway.
            patience_seconds=settings.stall_seconds,
            go_on=go_on,
        )
        desk = replace(self._desk, store=store)
        attempt = Attempt(desk, message, reporter, self._engine)

        def on_beat(verdict: Verdict) -> None:
            if verdict is Verdict.RESTORED:
                attempt.report_claimed()
            reporter.flush()

        lease = LeaseKeeper(
            self._desk.claims,
            message,
            token=self._desk.worker_id,
            renew_seconds=settings.renew_seconds,
            stall_seconds=settings.stall_seconds,
            on_beat=on_beat,
        )
        with lease:
            try:
                outcome = self._carry_out(desk.store, message, attempt, lease)
            except LeaseLost as error:
                _log.warning("attempt_abandoned", reason=error.detail)
                return Outcome.ABANDONED
            except ServiceError as error:
                _log.error("attempt_abandoned", code=error.code, reason=error.detail)
                return Outcome.ABANDONED
            except AtelierError as error:
                _fail(reporter, error)
                outcome = Outcome.ENDED
            except Exception as error:  # noqa: BLE001 - whatever it is, the job must not stay running
                _log.exception("engine_failed")
                _fail(reporter, EngineFailed(f"{type(error).__name__}: {error}"))
                outcome = Outcome.ENDED
            reporter.finish()
            if outcome is Outcome.ENDED:
                lease.end()
            return outcome

    def _carry_out(
        self, store: ArtifactStore, message: JobMessage, attempt: Attempt, lease: LeaseKeeper
    ) -> Outcome:
        if attempt.repair():
            return Outcome.ENDED
        mark = fingerprint(
            message, weights_sha256=self._engine.weights.sha256, engine_version=self._engine.version
        )
        found = find_checkpoint(store, message, fingerprint=mark)
        done = found.state.step if found else 0
        flag = attempt.flag()
        if flag:
            # Asked while it was still queued: not even begun.
            attempt.stop(flag, done)
            return Outcome.ENDED
        attempt.begin(mark, resumed_from=done or None)
        content, style = _read(store, message.content, "content"), _read(store, message.style, "style")
        state = found.state if found else None
        for step in self._engine.stylize(content, style, message.options, resume=state):
            lease.stepped()
            self._desk.slate.stepped(step.step)
            attempt.show(step)
            last = step.step == step.steps
            # At the last step nobody's wish counts any more: the picture is done.
            flag = None if last else attempt.flag()
            drain = not last and self._draining()
            if flag or drain or last or step.step % message.options.checkpoint_every == 0:
                attempt.save_checkpoint(step)
            if flag:
                attempt.stop(flag, step.step)
                return Outcome.ENDED
            if drain:
                attempt.release(step)
                return Outcome.RELEASED
            if last:
                attempt.commit(step)
            else:
                attempt.check_time()
        return Outcome.ENDED


def _fail(reporter: Reporter, error: AtelierError) -> None:
    _log.error("job_failed", code=error.code, detail=error.detail)
    reporter.report(EventType.FAILED, {"error": error.to_json()}, now=utc_now())
    reporter.finish()


def _read(store: ArtifactStore, picture: InputPicture, name: str) -> bytes:
    data = store.read(picture.key)
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise ArtifactCorrupt(f"the stored {name} picture is not the one that was handed in")
    return data

"""The end of a node's child by a crash: what it was about is handed back as a fault that may be the node's.

A driver that fails, or a check inside TensorFlow, ends the process by a signal: nothing in it can catch that.
Runs in the parent, before the next child is forked. A child that was killed by somebody is no crash.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from celery.concurrency.prefork import TaskPool

from shared.clock import to_rfc3339, utc_now
from shared.errors import EngineFailed, RedisUnavailable
from shared.logs import get_logger
from shared.protocol import EventType, WorkerEvent, message_id
from shared.redis import Coordination
from shared.redis.names import Names
from shared.settings import Settings
from worker.health import MOST_FAULTS
from worker.node_state import NodeState
from worker.talk import REPLY_SECONDS

_CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP}
)

_log = get_logger(__name__)


def crash_of(exit_code: int | None) -> str | None:
    """Return the name of the signal by which a process crashed; None for one that ended otherwise."""
    number = -exit_code if exit_code is not None else 0
    return signal.Signals(number).name if number in _CRASHES else None


class Crashes:
    """Notes the crashes of a node's children, and tells of them what the children cannot."""

    def __init__(
        self, settings: Settings, names: Names, node_state: NodeState, *, worker_id: str, token: str
    ) -> None:
        """Prepare to report for a node; `token` is the one of its claims. Nothing is connected yet."""
        self._redis = Coordination.connect(settings, names, reply_seconds=REPLY_SECONDS, tries_again=False)
        self._node_state = node_state
        self._worker_id = worker_id
        self._token = token

    def note(self, exit_code: int | None) -> None:
        """Note how a child has ended; if it crashed over a job, hand that back. Never raises."""
        name, job = crash_of(exit_code), self._node_state.read().job
        if name is None or job is None:
            return
        error = EngineFailed(f"its process crashed at step {job.step} ({name})")
        _log.error("child_crashed", job_id=job.job_id, attempt=job.attempt, signal=name)
        self._node_state.add_fault()
        count = self._node_state.faults_in_a_row
        if count >= MOST_FAULTS:
            reason = f"it failed {count} jobs in a row; the last: {error.code}: {error.detail}"
            self._node_state.be_unhealthy(reason)
        now = utc_now()
        mark = f"{self._worker_id}:{to_rfc3339(now)}"
        event = WorkerEvent(
            event_id=f"{message_id(job.job_id, job.attempt)}:{EventType.RELEASED}:{mark}",
            type=EventType.RELEASED,
            job_id=job.job_id,
            attempt=job.attempt,
            at=now,
            data={"step": job.step, "fault": {**error.to_json(), "worker": self._worker_id}},
        )
        try:
            # In this order: a job without a lease whose report is not there counts as lost.
            self._redis.stream.report(event)
            self._redis.claims.release(job.job_id, job.attempt, token=self._token, ended=False)
        except RedisUnavailable as lost:
            _log.warning("crash_not_reported", job_id=job.job_id, reason=lost.detail)
        except Exception:  # noqa: BLE001 - whatever it is, the pool must replace the child
            _log.exception("crash_not_reported", job_id=job.job_id)
        # The next child may crash before it has anything to tell.
        self._node_state.forget_job()


def make_pool(on_ended: Callable[[int | None], None]) -> type[TaskPool]:
    """Return the class of a pool of one child; `on_ended` is called with the exit code of each that ends."""

    class NodePool(TaskPool):  # type: ignore[misc]
        """A child that has died is replaced, even if it dies at the very start."""

        def did_start_ok(self) -> bool:
            """Celery ends its worker when a child is dead by the time that it looks for the first time."""
            return True

        def register_with_event_loop(self, loop: Any) -> None:  # noqa: ANN401 - Celery's
            """Celery installs its own handler of an ended child here; ours goes before it."""
            super().register_with_event_loop(loop)
            cleaned_up = self._pool.on_process_down

            def on_down(process: Any) -> None:  # noqa: ANN401 - billiard's
                on_ended(process.exitcode)
                cleaned_up(process)

            self._pool.on_process_down = on_down

    return NodePool

"""The real thing beside its model: each act is done to both, and then they are compared."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, inspect

from shared.broker import DEFAULT_ROUTE
from shared.errors import InvalidState, NotReady, StaleJob
from shared.options import StyleOptions
from shared.protocol import WorkerEvent
from shared.redis.claims import Claims, Verdict
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.layout import marker_key
from tests.integration.jobs.model import reports
from tests.integration.jobs.model.expected import FINAL, HELD, Expected, NotKept, Refused
from tests.integration.jobs.model.expected_claims import ExpectedClaims
from tests.integration.jobs.model.reports import STEPS
from tests.support.clock import Clock
from tests.support.rows import add_picture
from web.control.process import Control
from web.db.models import InboxEntry, Job
from web.jobs.actions import write_cancel, write_extend, write_pause, write_resume, write_retry
from web.jobs.queries import add_job, get_job
from web.jobs.transitions import events_after, list_attempts, list_checkpoints

REQUEST_FUNCTIONS = {
    "cancel": write_cancel,
    "pause": write_pause,
    "resume": write_resume,
    "retry": write_retry,
    "extend": write_extend,
}


class World:
    """A database, a Redis and a store with a few jobs, and what is expected of each."""

    def __init__(self, control: Control, settings: Settings, client: Any, clock: Clock) -> None:
        self.control, self.client, self.clock = control, client, clock
        self.store = store_of(settings)
        self.stream = control.backend.redis.stream
        # Leases must not run out by themselves here, however slow the machine is.
        self.claims = Claims(
            client, control.backend.redis.names, lease_seconds=3600, max_deliveries=settings.max_deliveries
        )
        self.jobs: dict[str, Expected] = {}
        self.leases = ExpectedClaims(settings.max_deliveries)
        self.committed: set[tuple[str, int]] = set()
        self.moved: set[tuple[str, str]] = set()
        self._highest: dict[str, int] = {}
        with control.backend.database.write() as session:
            self.asset = add_picture(session, now=clock.now())

    def clear(self) -> None:
        """Remove all jobs."""
        with self.control.backend.database.write() as session:
            session.execute(delete(Job))
            session.execute(delete(InboxEntry))
        self.client.flushall()

    def submit(self, *, max_attempts: int = 3, waits_seconds: int | None = None) -> str:
        deadline = waits_seconds and self.clock.now() + timedelta(seconds=waits_seconds)
        with self.control.backend.database.write() as session:
            asset = session.merge(self.asset, load=False)
            job = add_job(
                session, caller="local", name="a job", content=asset, style=asset,
                options=StyleOptions(steps=STEPS), labels={}, max_attempts=max_attempts,
                now=self.clock.now(), extra={"queue_deadline": deadline},
            )  # fmt: skip
        self.jobs[job.id] = Expected(max_attempts, STEPS, deadline or None)
        return job.id

    def row(self, job_id: str) -> Job:
        with self.control.backend.database.read() as session:
            return get_job(session, job_id)

    def snapshot(self, job_id: str) -> tuple[Any, ...]:
        """Return everything that is stored about a job."""
        with self.control.backend.database.read() as session:
            events = events_after(session, job_id, 0, limit=10_000)
            past = [*events, *list_attempts(session, job_id), *list_checkpoints(session, job_id)]
            return tuple(
                tuple(getattr(row, column.key) for column in inspect(row).mapper.column_attrs)
                for row in (get_job(session, job_id), *past)
            )

    def report(self, job_id: str, kind: str, *, attempt: int, **details: Any) -> WorkerEvent:
        """Return a report as a worker would make it now."""
        if kind == "succeeded":
            details["step"] = self.jobs[job_id].steps
        return reports.report(job_id, kind, attempt=attempt, now=self.clock.now(), **details)

    def deliver(self, event: WorkerEvent) -> None:
        """Let a report reach the projector through the stream."""
        expected, before = self.jobs[event.job_id], self.snapshot(event.job_id)
        status = expected.status
        known = {"step": event.data.get("step", 0), "worker": event.data.get("worker_id")}
        if event.type.value == "succeeded":
            self._write_result(event.job_id, event.attempt, event.data["step"])
        may_change = expected.report(event.type.value, event.attempt, event.event_id, **known)
        self.stream.report(event)
        self.control.projector.drain()
        if may_change:
            self.moved.add((status, event.type.value))
        else:
            assert self.snapshot(event.job_id) == before, f"{event.event_id} should have changed nothing"

    def claim(self, job_id: str, attempt: int, worker: str) -> None:
        """Let a worker try for an attempt; if it gets it, it says so; one that is poisonous it gives back."""
        verdict = self.claims.claim(job_id, attempt, token=worker)
        assert verdict == self.leases.claim(job_id, attempt, worker)
        if verdict is Verdict.OK:
            self.deliver(self.report(job_id, "claimed", attempt=attempt, worker=worker))
        elif verdict is Verdict.POISON:
            self.deliver(self.report(job_id, "released", attempt=attempt, worker=worker))
            self.lose_lease(job_id)

    def lose_lease(self, job_id: str) -> None:
        """Let a worker vanish; its lease has run out."""
        held = self.leases.release(job_id)
        if held is not None:
            self.claims.release(job_id, held[1], token=held[0], ended=False)

    def commit(self, job_id: str) -> None:
        """Let the worker commit its result; its report is not made."""
        attempt = self.jobs[job_id].attempt
        if (job_id, attempt) not in self.committed:
            self._write_result(job_id, attempt, self.jobs[job_id].steps)

    def _write_result(self, job_id: str, attempt: int, step: int) -> None:
        """Write what lies in the storage before a worker reports success."""
        self.committed.add((job_id, attempt))
        marker = reports.marker(job_id, attempt, step=step, now=self.clock.now())
        self.store.write(reports.output(job_id, attempt).key, reports.OUTPUT)
        self.store.write(marker_key(job_id, attempt), marker.model_dump_json().encode())

    def rescue(self) -> None:
        lost = {
            job_id: expected
            for job_id, expected in self.jobs.items()
            if expected.status in HELD and job_id not in self.leases.owners
        }
        for job_id, expected in lost.items():
            attempt, status = expected.attempt, expected.status
            if (job_id, attempt) in self.committed:
                expected.report("succeeded", attempt, f"{job_id}:{attempt}:succeeded", step=expected.steps)
                self.moved.add((status, "repaired"))
            else:
                expected.lose_worker()
                self.leases.fence(job_id, attempt + 1)
                self.moved.add((status, "lease_lost" if not expected.is_final else "attempts_exhausted"))
        assert self.control.rescuer.rescue(self.control.projector) == len(lost)

    def pass_time(self, seconds: int) -> None:
        """Let time pass, and control look for deadlines."""
        self.clock.seconds += seconds
        for expected in self.jobs.values():
            expected.expire(self.clock.now())
        self.control.deadlines.expire()

    def dispatch(self) -> None:
        for expected in self.jobs.values():
            if expected.status == "queued" and not expected.is_dispatched:
                expected.is_dispatched = True
        self.control.dispatcher.send_due()

    def lose_messages(self) -> None:
        """Let the broker lose what waits in it, and control notice that."""
        self.client.delete(*self.control.backend.redis.names.queue_lists(DEFAULT_ROUTE))
        self.clock.seconds += 60
        for job_id, expected in self.jobs.items():
            if expected.status == "queued" and job_id not in self.leases.owners:
                expected.is_dispatched = False
        self.control.dispatcher.send_lost(self.control.projector)

    def wipe_redis(self) -> None:
        """Let Redis come back without its data: leases, fences and messages are gone."""
        self.client.flushall()
        self.leases.forget()

    def ask(self, job_id: str, name: str, *, copy: Job | None = None, **details: Any) -> None:
        """Let a person ask for something; `copy` is a row as it was read earlier, else it is read now."""
        expected, before = self.jobs[job_id], self.snapshot(job_id)
        status, trial = expected.status, deepcopy(expected)
        error = None
        if copy is not None and copy.version != self.row(job_id).version:
            error = StaleJob
        else:
            try:
                trial.request(name, **details)
            except Refused:
                error = InvalidState
            except NotKept:
                error = NotReady
        raised = self._request(job_id, name, copy, details)
        if error is None:
            assert raised is None, f"{name} of a job that is {status}: {raised}"
            self.jobs[job_id] = trial
            self.moved.add((status, name))
            return
        # An old copy may also be refused, or found wanting, for what it says itself.
        allowed = (InvalidState, StaleJob, NotReady) if error is StaleJob else error
        assert isinstance(raised, allowed), f"{name} of a job that is {status}: {raised!r}"
        assert self.snapshot(job_id) == before

    def _request(self, job_id: str, name: str, copy: Job | None, details: dict[str, Any]) -> Exception | None:
        names = {"more": "steps"}
        values = {names.get(key, key): value for key, value in details.items()}
        try:
            with self.control.backend.database.write() as session:
                job = session.merge(copy, load=False) if copy is not None else get_job(session, job_id)
                REQUEST_FUNCTIONS[name](session, job, now=self.clock.now(), **values)
        except (InvalidState, StaleJob, NotReady) as error:
            return error
        return None

    def check(self) -> None:
        """Compare every job with what is expected of it."""
        for job_id, expected in self.jobs.items():
            self._check_job(job_id, expected)

    def _check_job(self, job_id: str, expected: Expected) -> None:
        with self.control.backend.database.read() as session:
            job = get_job(session, job_id)
            events = events_after(session, job_id, 0, limit=10_000)
            running = [one.number for one in list_attempts(session, job_id) if one.ended_at is None]
            checkpoints = {one.step: one.attempt for one in list_checkpoints(session, job_id)}
        outputs = [output["key"] for output in job.outputs]
        kept = expected.output_attempt
        found = (
            job.status, job.status_reason, job.attempt, job.lost_workers, job.step, job.options["steps"],
            checkpoints, job.checkpoints_since, job.queue_deadline, job.origin and job.origin["step"],
        )  # fmt: skip
        assert found == (
            expected.status, expected.reason, expected.attempt, expected.lost_workers, expected.step,
            expected.steps, expected.checkpoints, expected.checkpoints_since, expected.deadline,
            expected.origin_step,
        )  # fmt: skip
        assert [event.data.get("status", event.type) for event in events] == expected.history
        assert [event.sequence for event in events] == list(range(1, job.version + 1)), (
            "the version is the number of the last event"
        )
        assert job.attempt >= self._highest.get(job_id, 1), "the attempt went back"
        self._highest[job_id] = job.attempt
        assert running == ([job.attempt] if job.status in HELD else []), "one attempt at most is under way"
        assert outputs == ([reports.output(job_id, kept).key] if kept is not None else [])
        assert (job.status != "succeeded") or kept == job.attempt
        assert (job.completed_at is not None) == (job.status in FINAL)
        assert (job.error is not None) == (job.status in ("failed", "expired"))
        if job.status == "queued":
            assert (job.dispatched_at is not None) == expected.is_dispatched

"""The projector: writes reports from the event stream to the database, each exactly once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from shared.errors import ServiceError, UnreadableMessage
from shared.logs import get_logger
from shared.memory import device_model
from shared.protocol import EventType, ResultMarker, WorkerEvent, read_event
from shared.redis.live import Flag
from shared.redis.stream import Delivery
from shared.status import JobStatus
from shared.trace import trace_facts
from web.backend import Backend
from web.control.blame import as_failure, find_failures
from web.control.results import find_result, success_event
from web.control.states import GivenUpStates
from web.db.models import Job
from web.db.totals import Spread, Total, add, observe
from web.jobs.faults import read_fault, with_fault
from web.jobs.queries import get_jobs
from web.jobs.routing import queue_rank
from web.jobs.states import PAUSING, RESULT_MISSING, WORKER_DRAINED, WORKER_UNFIT, Trigger, is_legal
from web.jobs.thinning import thin_states
from web.jobs.told_waits import END, WAIT, judge_end, judge_told, judged
from web.jobs.transitions import (
    HistoryEntry,
    apply_trigger,
    enter_inbox,
    method_of,
    public_output,
    save_attempt,
    save_checkpoint,
    write_changes,
)

_TRIGGERS = {
    EventType.CLAIMED: Trigger.CLAIMED,
    EventType.SUCCEEDED: Trigger.SUCCEEDED,
    EventType.FAILED: Trigger.FAILED,
    EventType.CANCELED: Trigger.CANCELED,
    EventType.PAUSED: Trigger.PAUSED,
    EventType.RELEASED: Trigger.RELEASED,
}
_log = get_logger(__name__)
_BATCH = 100
#: Reports per transaction: many for one sync of the disk, but few enough that other writers get their turn.
_TRANSACTION = 50


@dataclass(frozen=True)
class Projection:
    """What to do with a report: apply a trigger, store a checkpoint, or ignore it for a reason."""

    trigger: Trigger | None = None
    is_checkpoint: bool = False
    ignored: str | None = None


def decide_projection(
    status: JobStatus, attempt: int, event: WorkerEvent, *, pausing: bool = False
) -> Projection:
    """Decide about a report of a job at `status` and `attempt`; `pausing`: its worker is asked to pause."""
    if event.attempt != attempt:
        return Projection(ignored=f"it is of attempt {event.attempt}, the job is at {attempt}")
    if status.is_final:
        return Projection(ignored=f"the job is {status}")
    if event.type is EventType.CHECKPOINTED:
        return Projection(is_checkpoint=True)
    trigger = _TRIGGERS[event.type]
    if trigger is Trigger.RELEASED and pausing and status is JobStatus.RUNNING:
        # The job was checkpointed and released for another reason: a pause needs nothing else.
        trigger = Trigger.PAUSED
    if not is_legal(status, trigger):
        return Projection(ignored=f"'{trigger}' means nothing to a job that is {status}")
    return Projection(trigger=trigger)


def write_projection(
    session: Session,
    job: Job,
    event: WorkerEvent,
    projection: Projection,
    *,
    checkpoint_bytes: int,
    now: datetime,
) -> Sequence[str]:
    """Write a report as `projection` says; return the keys of states that were given up for it.

    `checkpoint_bytes` is what a job's states may take.

    Raises:
        StaleJob: when the job has changed since it was read.
    """
    if projection.is_checkpoint:
        _write_checkpoint(session, job, event.data, now=now)
        state_bytes = event.data.get("state_bytes") or 0
        return thin_states(session, job, state_bytes=state_bytes, budget_bytes=checkpoint_bytes)
    if projection.trigger is Trigger.CLAIMED:
        _write_claim(session, job, event.data, now=now)
    elif projection.trigger is not None:
        _write_end(session, job, projection.trigger, event.data, now=now)
    return ()


def _write_checkpoint(session: Session, job: Job, data: dict[str, Any], *, now: datetime) -> None:
    save_checkpoint(
        session,
        job.id,
        data["step"],
        attempt=job.attempt,
        key=data["key"],
        picture_key=data["picture_key"],
        sha256=data["sha256"],
        losses=data["losses"],
        curve=data.get("curve", []),
        numerics=data.get("numerics"),
        created_at=now,
    )
    add(session, Total.CHECKPOINTS, method=method_of(job))
    _count_steps(session, job, data["step"])
    entry = HistoryEntry("checkpoint", {key: data[key] for key in ("step", "steps", "sha256", "losses")})
    values = {"step": data["step"], "losses": data["losses"], "numerics": data.get("numerics")}
    write_changes(session, job, values, now=now, entries=[entry])


def _write_claim(session: Session, job: Job, data: dict[str, Any], *, now: datetime) -> None:
    who = {key: data.get(key) for key in ("worker_id", "device", "resumed_from_step")}
    known = {key: getattr(job, key) for key in who}
    values: dict[str, Any] = {
        **who,
        "weights": data["weights"],
        "engine_version": data["engine_version"],
        "is_exact": data.get("exact"),
        "started_at": job.started_at or now,
        "metrics": _metrics_at_start(job, now=now),
    }
    # A claim that was repeated because Redis had lost it is not added to the history.
    repeated = job.job_status is not JobStatus.QUEUED and who == known
    entries = [] if repeated else [HistoryEntry("attempt", {"number": job.attempt, **who})]
    if not repeated:
        _count_claim(session, job, values["metrics"], now=now)
    keep_reason = repeated or job.status_reason == PAUSING
    apply_trigger(
        session, job, Trigger.CLAIMED, now=now, reason=job.status_reason if keep_reason else None,
        values=values, entries=entries,
    )  # fmt: skip
    if not repeated:
        how = {"numerics": data.get("numerics"), "is_exact": data.get("exact")}
        save_attempt(session, job.id, job.attempt, **who, **how, started_at=now, ended_at=None, outcome=None)


def _metrics_at_start(job: Job, *, now: datetime) -> dict[str, Any]:
    """Return the metrics of a job that begins: how long it waited, and whether that is what it was told."""
    waited, metrics = round((now - job.created_at).total_seconds(), 3), _metrics(job)
    if job.started_at is None and job.queued_at == job.created_at:
        metrics = judge_told(metrics, waited)
    return {"queue_seconds": waited, **metrics}


def write_success(session: Session, job: Job, marker: ResultMarker, *, now: datetime) -> None:
    """Let a job at the marker's attempt succeed with its result.

    Raises:
        StaleJob: when the job has changed since it was read.
    """
    enter_inbox(session, [success_event(job, marker).event_id], now=now)
    _write_end(session, job, Trigger.SUCCEEDED, marker.model_dump(mode="json"), now=now)


def _write_end(session: Session, job: Job, trigger: Trigger, data: dict[str, Any], *, now: datetime) -> None:
    values: dict[str, Any] = {}
    entries: list[HistoryEntry] = []
    if trigger is Trigger.SUCCEEDED:
        values = {
            "step": data["step"],
            "losses": data["losses"],
            "outputs": data["outputs"],
            "weights": data["weights"],
            "engine_version": data["engine_version"],
            "numerics": data.get("numerics"),
            "is_exact": data.get("exact"),
            "metrics": {
                **_metrics_at_end(job, now=now),
                "run_seconds": data["run_seconds"],
                "gpu_peak_bytes": data.get("gpu_peak_bytes"),
            },
        }
        entries = [HistoryEntry("output", public_output(output)) for output in data["outputs"]]
        _count_success(session, job, data, values["metrics"], now=now)
    elif trigger is Trigger.FAILED:
        values = {"error": data["error"]}
    elif (fault := read_fault(data)) is not None:
        values = {"metrics": with_fault(job.metrics, fault)}
    reason, outcome = None, trigger.value
    if trigger is Trigger.RELEASED:
        # What another node is to go on with goes before all others; for that its message is sent anew.
        values |= {"queue_rank": queue_rank(job.priority, is_handed_back=True), "dispatched_at": None}
        # What is told beside the step says that the node could not go on; else it was asked to end.
        is_unfit = bool(data.keys() & {"fault", "reason"})
        reason, outcome = (WORKER_UNFIT, WORKER_UNFIT) if is_unfit else (WORKER_DRAINED, outcome)
        add(session, Total.HAND_BACKS, method=method_of(job), reason=reason)
    apply_trigger(session, job, trigger, now=now, reason=reason, values=values, entries=entries)
    save_attempt(session, job.id, job.attempt, ended_at=now, outcome=outcome)


def _count_claim(session: Session, job: Job, metrics: Mapping[str, Any], *, now: datetime) -> None:
    """Count a claim of a job as it was before; if it is the first, how long it waited, and as told or not."""
    method = method_of(job)
    add(session, Total.CLAIMS, method=method)
    if job.started_at is not None:
        return
    waited_seconds = (now - job.created_at).total_seconds()
    observe(session, Spread.WAIT, waited_seconds, method=method)
    told = judged(metrics, WAIT)
    if told is not None:
        add(session, Total.TOLD_WAITS, kept=str(told.is_kept).lower())
        observe(session, Spread.WAIT_ERROR, abs(told.range.likely - waited_seconds))


def _count_steps(session: Session, job: Job, step: int) -> None:
    add(session, Total.STEPS, step - job.step, method=method_of(job))


def _metrics_at_end(job: Job, *, now: datetime) -> dict[str, Any]:
    """Return the metrics of a job that succeeds, with whether it ended as told, if nobody held it up.

    Lost workers are no excuse; that somebody paused it, or tried it again, is one.
    """
    metrics = _metrics(job)
    if job.attempt - 1 != job.lost_workers:
        return metrics
    return judge_end(metrics, (now - job.created_at).total_seconds())


def _count_success(
    session: Session, job: Job, data: Mapping[str, Any], metrics: Mapping[str, Any], *, now: datetime
) -> None:
    """Count the run of the attempt that made the result, by its own clock; and the end that was told."""
    told = judged(metrics, END) if judged(_metrics(job), END) is None else None
    if told is not None:
        took_seconds = (now - job.created_at).total_seconds()
        add(session, Total.TOLD_ENDS, kept=str(told.is_kept).lower())
        observe(session, Spread.END_ERROR, abs(told.range.likely - took_seconds))
    labels = {"method": method_of(job), "device": device_model(job.device)}
    seconds, steps = data["run_seconds"], data["step"] - (job.resumed_from_step or 0)
    observe(session, Spread.RUN, seconds, **labels)
    if steps > 0:
        observe(session, Spread.STEP, seconds / steps, **labels)
    _count_steps(session, job, data["step"])


def _metrics(job: Job) -> dict[str, Any]:
    """Return what is measured so far; what cannot be read is measured anew."""
    return dict(job.metrics) if isinstance(job.metrics, Mapping) else {}


def write_missing_result(session: Session, job: Job, event: WorkerEvent, *, now: datetime) -> bool:
    """Note that a result is not to be seen that was reported; return whether that changed the row.

    The job stays with its attempt: the result may still appear, and the rescuer decides when it does not.
    """
    projection = decide_projection(job.job_status, job.attempt, event)
    is_new = job.job_status is JobStatus.RUNNING and job.status_reason not in (PAUSING, RESULT_MISSING)
    if projection.trigger is not Trigger.SUCCEEDED or not is_new:
        return False
    status = {"status": job.status, "status_reason": RESULT_MISSING, "attempt": job.attempt}
    changes = {"status_reason": RESULT_MISSING}
    write_changes(session, job, changes, now=now, entries=[HistoryEntry("status", status)])
    return True


@dataclass(frozen=True)
class _Applied:
    """A processed report: its job's attempt, why it was ignored, if it was, and states given up for it."""

    event: WorkerEvent
    attempt: int
    ignored: str | None
    given_up: Sequence[str] = ()


class Projector:
    """Applies reports in the order of the stream; one that cannot be applied does not stop the others."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._has_pending = True
        #: What is to be removed of the states that made room for others.
        self.given_up = GivenUpStates(backend, clock=clock)
        #: How many reports were set aside since the start.
        self.skipped = 0

    def step(self, *, block_ms: int | None) -> int:
        """Apply the next reports, waiting up to `block_ms` milliseconds for one; return how many there were.

        Raises:
            RedisUnavailable, DatabaseUnavailable: applied reports stay applied, and are not applied again.
            IdentityMissing, IdentityWrong, StorageUnavailable: when results cannot be looked for.
        """
        # Reports that were not acknowledged because of a fault come first, or the order would be lost.
        deliveries = self._backend.redis.stream.pending(count=_BATCH) if self._has_pending else []
        if not deliveries:
            self._has_pending = False
            deliveries = self._backend.redis.stream.fresh(count=_BATCH, block_ms=block_ms)
        if deliveries:
            self._has_pending = True
            self._apply_all([event for delivery in deliveries if (event := self._event(delivery))])
            self._backend.redis.stream.acknowledge(deliveries)
            self._has_pending = False
        return len(deliveries)

    def drain(self) -> None:
        """Apply the reports that are in the stream now; reports added meanwhile do not prolong this."""
        left = self._backend.redis.stream.length()
        while left > 0 and (count := self.step(block_ms=None)):
            left -= count

    def apply(self, event: WorkerEvent) -> None:
        """Apply one report, unless it was applied before; then notify the job's watchers.

        Raises:
            ServiceError: when a part of the service fails; anything else when the report cannot be applied.
        """
        self._apply_group([event])

    def _apply_all(self, events: list[WorkerEvent]) -> None:
        for start in range(0, len(events), _TRANSACTION):
            group = events[start : start + _TRANSACTION]
            try:
                self._apply_group(group)
            except ServiceError:
                raise
            except Exception:  # noqa: BLE001 - whatever it is, it is found out one by one
                _log.exception(
                    "reports_failed", count=len(group), event_ids=[event.event_id for event in group]
                )
                for event in group:
                    self._apply_alone(event)

    def _apply_alone(self, event: WorkerEvent) -> None:
        """Apply one report of a group that failed; set it aside if it is the one."""
        try:
            self._apply_group([event])
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other reports go on
            _log.exception("report_failed", event_id=event.event_id, job_id=event.job_id)
            self._set_aside(event.to_json(), f"it cannot be applied: {type(error).__name__}: {error}")

    def _apply_group(self, events: list[WorkerEvent]) -> None:
        missing = self._missing_results(events)
        failures = find_failures(self._backend, events)
        # What is missing is not entered into the inbox: the report is to be applied when its result appears.
        with self._backend.database.write() as session:
            applied = self._write(session, [event for event in events if event not in missing], failures)
            self._note_missing(session, missing)
        for told in applied:
            self.given_up.add(told.event.job_id, told.given_up)
            self._log_applied(told)
            if told.event.type is EventType.FAILED and told.event.event_id in failures:
                # Its message is on its way to another node.
                self._backend.redis.claims.fence(told.event.job_id, told.event.attempt + 1)
        self._backend.redis.progress.notify(*{event.job_id for event in events})

    def _missing_results(self, events: list[WorkerEvent]) -> list[WorkerEvent]:
        """Return the reports of success whose results are not to be seen."""
        done = [event for event in events if event.type is EventType.SUCCEEDED]
        if not done:
            return []
        self._backend.check_storage()
        with self._backend.database.read() as session:
            jobs = get_jobs(session, {event.job_id for event in done})
        return [event for event in done if (job := jobs.get(event.job_id)) and self._is_missing(job, event)]

    def _is_missing(self, job: Job, event: WorkerEvent) -> bool:
        if decide_projection(job.job_status, job.attempt, event).trigger is not Trigger.SUCCEEDED:
            return False  # it will be ignored
        if find_result(self._backend, job, event.attempt, is_reported=True) is not None:
            return False
        _log.error("result_not_seen", job_id=job.id, attempt=event.attempt, worker_id=job.worker_id)
        return True

    def _note_missing(self, session: Session, events: list[WorkerEvent]) -> None:
        jobs = get_jobs(session, {event.job_id for event in events}) if events else {}
        for event in events:
            if (job := jobs.get(event.job_id)) is not None:
                write_missing_result(session, job, event, now=self._clock())

    def _write(
        self, session: Session, events: list[WorkerEvent], failures: Mapping[str, dict[str, Any]]
    ) -> list[_Applied]:
        now = self._clock()
        fresh = enter_inbox(session, [event.event_id for event in events], now=now)
        jobs = get_jobs(session, {event.job_id for event in events})
        applied = []
        for event in events:
            if event.event_id not in fresh:
                _log.info("report_repeated", event_id=event.event_id)
                continue
            fresh.remove(event.event_id)  # it may come twice in one group
            job = jobs.get(event.job_id)
            told = event if job is None else as_failure(job, event, failures)
            applied.append(self._write_one(session, job, told, now=now))
        return applied

    def _write_one(self, session: Session, job: Job | None, event: WorkerEvent, *, now: datetime) -> _Applied:
        if job is None:
            # It was deleted while its message was still in the broker.
            return _Applied(event, event.attempt, "there is no such job")
        attempt, pausing = job.attempt, job.status_reason == PAUSING
        projection = decide_projection(job.job_status, attempt, event, pausing=pausing)
        most = self._backend.settings.checkpoint_bytes
        given_up = write_projection(session, job, event, projection, checkpoint_bytes=most, now=now)
        return _Applied(event, attempt, projection.ignored, given_up)

    def _log_applied(self, applied: _Applied) -> None:
        """Log a committed report; ask the worker to stop if its claim was ignored."""
        event = applied.event
        _log.info(
            "report_applied" if applied.ignored is None else "report_ignored",
            job_id=event.job_id, attempt=event.attempt, type=event.type, reason=applied.ignored,
            **trace_facts(event.traceparent),
        )  # fmt: skip
        if event.type is EventType.CLAIMED and applied.ignored and event.attempt <= applied.attempt:
            # The job was canceled, paused, expired or deleted in the moment of the claim. Or Redis lost its
            # fences, and a worker that had lost the job took the lease again, from the next attempt.
            self._backend.redis.flags.raise_flag(event.job_id, event.attempt, Flag.CANCEL)

    def _event(self, delivery: Delivery) -> WorkerEvent | None:
        try:
            return read_event(delivery.text)
        except UnreadableMessage as error:
            _log.error("report_unreadable", entry_id=delivery.entry_id, reason=error.detail)
            self._set_aside(delivery.text, error.detail)
            return None

    def _set_aside(self, text: str, reason: str) -> None:
        self.skipped += 1
        self._backend.redis.set_aside.put(
            text, reason=reason, source=self._backend.redis.stream.name, now=self._clock()
        )

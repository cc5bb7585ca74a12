"""Fairness between callers: start-time fair queueing, by the device seconds that their jobs take.

The jobs of one caller in one line at one priority are a flow. A job that is queued gets a virtual start, in
seconds: where the jobs of its flow before it are reckoned to end, had the flow one device to itself; but not
before the virtual time, the virtual start of the job that began last. The line is in the order of virtual
starts. So each of the flows that wait gets as many device seconds as any other, and who comes with one job
waits for about one job of each of the others, however many they have.

After P. Goyal, H. Vin, H. Cheng: Start-time Fair Queuing, SIGCOMM 1996. Beyond the paper: what a job took is
known only when it has ended, and what waits may leave the line unserved. Both are put right on what the flow
has still waiting, once they come to more than a few jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    TextClause,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from shared.status import JobKind, JobStatus
from web.db.database import before_commit
from web.db.models import IN_LINE_WORDS, Flow, Job, JobAttempt
from web.jobs.routing import is_handed_back, line_of, priority_of, queue_rank
from web.jobs.states import REUSED
from web.jobs.waits import measured_seconds

#: What a flow may be off before its waiting jobs are moved, the most of: so many seconds, so many jobs of it,
#: and a fiftieth of what it has of the devices in an hour. To move them costs as much as to send them.
_LEAST_SECONDS_OFF = 60.0
_JOBS_OFF = 4
_SECONDS_OFF_PER_RUNNING = 72.0
#: An attempt is not reckoned with more: clocks may be wrong by years.
_LONGEST_ATTEMPT_SECONDS = 7 * 86_400.0
_HELD = (JobStatus.RUNNING, JobStatus.CANCELING)
_NOTED = "flows"


@dataclass(frozen=True)
class FlowKey:
    """Whose jobs, in which line and at which priority."""

    caller: str
    route: str
    priority: int

    @classmethod
    def of(cls, job: Job, rank: int) -> FlowKey:
        """Return that of a job that stands in its line by a rank."""
        return cls(job.caller, job.route, priority_of(rank))

    @property
    def line(self) -> str:
        """The name of the line: its first route."""
        return line_of(self.route)[0]


@dataclass(frozen=True)
class Stand:
    """How a job stood before it changed."""

    status: JobStatus
    attempt: int
    queue_rank: int
    has_leader: bool

    @classmethod
    def of(cls, job: Job) -> Stand:
        """Return how a job stands."""
        return cls(job.job_status, job.attempt, job.queue_rank, job.leader_id is not None)


@dataclass(frozen=True)
class FlowState:
    """What decides where a flow's next job stands, in virtual seconds.

    `virtual_time` is that of its line and priority; `finish` is where what it has begun ends, and `last`
    where all that waits of it ends. `first` is the virtual start of the first that waits; None if none does.
    """

    virtual_time: float = 0.0
    finish: float = 0.0
    first: float | None = None
    first_seconds: float = 0.0
    last: float | None = None
    #: How many jobs of its caller run.
    running: int = 0


def decide_start(flow: FlowState) -> float:
    """Return the virtual start of a job that joins a flow."""
    return max(flow.virtual_time, flow.finish, flow.last or 0.0)


def decide_shift(flow: FlowState) -> float:
    """Return by how many seconds what waits of a flow is moved; 0 where it stands about right.

    Forward, where jobs before it have left without being served; back, where what it began takes longer than
    it was reckoned with.
    """
    if flow.first is None:
        return 0.0
    tolerance = max(
        _LEAST_SECONDS_OFF, _JOBS_OFF * flow.first_seconds, _SECONDS_OFF_PER_RUNNING * flow.running
    )
    earliest = max(flow.virtual_time, flow.finish)
    if flow.first > earliest + tolerance:
        return earliest - flow.first
    if flow.first < flow.finish - tolerance:
        return flow.finish - flow.first
    return 0.0


def next_start(session: Session, key: FlowKey) -> float:
    """Return the virtual start of a job that joins a flow now, as this transaction sees it."""
    _write_noted(session)
    return decide_start(_read(session, key))


def changes_to_queue(session: Session, job: Job, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be changed, too, when a job is queued anew, not handed back, with these changes.

    In its flow it stands by its age.
    """
    rank = changes.get("queue_rank", job.queue_rank)
    if not isinstance(rank, int) or is_handed_back(rank):  # damaged, or before all others, by its age
        return {}
    key = FlowKey.of(job, rank)
    younger = session.scalar(
        select(Job.virtual_start)
        .where(*_waits(key), Job.created_at > job.created_at, Job.id != job.id)
        .order_by(Job.virtual_start)
        .limit(1)
    )
    return {"virtual_start": next_start(session, key) if younger is None else younger}


def note_move(session: Session, job: Job, *, was: Stand, now: datetime) -> None:
    """Note what a change of a job's status means to its flow; `was` is how it stood before.

    It is written right before the commit: of many reports in one transaction each flow is written once.
    """
    if not isinstance(was.queue_rank, int):  # the row is damaged
        return
    after, key = job.job_status, FlowKey.of(job, was.queue_rank)
    is_new = not is_handed_back(was.queue_rank)
    if was.status is JobStatus.QUEUED and after is not JobStatus.QUEUED:
        if was.has_leader or (after is JobStatus.SUCCEEDED and job.status_reason == REUSED):
            return  # it has had no place of its own
        # What goes on has been charged before.
        begins = is_new and after in (JobStatus.RUNNING, JobStatus.SUCCEEDED)
        _note(session, key, Charge(job.virtual_start, job.estimated_seconds) if begins else None)
    elif was.status in _HELD and after not in _HELD:
        took_seconds = _took_seconds(session, job, was, now=now)
        if took_seconds is not None:
            _note(session, key, Charge(None, took_seconds - (job.estimated_seconds if is_new else 0.0)))


def settle(session: Session, key: FlowKey) -> None:
    """Move what waits of a flow to where it belongs, if it is off by more than a few jobs."""
    _note(session, key, None)


def forget_flows(session: Session, caller: str) -> None:
    """Remove what is known of a caller's flows."""
    session.execute(delete(Flow).where(Flow.caller == caller))


@dataclass(frozen=True)
class Charge:
    """Seconds that a flow is charged: from a virtual start, when a job begins, or where it has got to."""

    virtual_start: float | None
    seconds: float


def decide_finish(finish: float, charge: Charge) -> float:
    """Return where what a flow has begun ends, with one more charge."""
    return max(0.0, max(finish, charge.virtual_start or 0.0) + charge.seconds)


def _note(session: Session, key: FlowKey, charge: Charge | None) -> None:
    noted: dict[FlowKey, list[Charge]] = session.info.setdefault(_NOTED, {})
    if not noted:
        before_commit(session, _write_noted)
    noted.setdefault(replace(key, route=key.line), []).extend([] if charge is None else [charge])


def _write_noted(session: Session) -> None:
    noted: dict[FlowKey, list[Charge]] = session.info.pop(_NOTED, {})
    for key, charges in noted.items():
        flow = _read(session, key)
        for charge in charges:
            flow = replace(flow, finish=decide_finish(flow.finish, charge))
        if charges:
            starts = [charge.virtual_start for charge in charges if charge.virtual_start is not None]
            # It never goes back: a job that is resumed may begin late.
            flow = replace(flow, virtual_time=max(flow.virtual_time, *starts, 0.0))
            begun = {"virtual_start": flow.virtual_time} if starts else {}
            _write(session, key, virtual_finish=flow.finish, **begun)
        shift = decide_shift(flow)
        if shift:
            # Their messages are to lie elsewhere, too.
            moved = {"virtual_start": Job.virtual_start + shift, "dispatched_at": None}
            statement = update(Job).where(*_waits(key)).values(moved)
            session.execute(statement.execution_options(synchronize_session=False))


def _took_seconds(session: Session, job: Job, was: Stand, *, now: datetime) -> float | None:
    """Return how long an attempt had its device, by the worker's clock if it tells; None if nobody does."""
    took_seconds = measured_seconds(job.metrics) if job.job_status is JobStatus.SUCCEEDED else None
    if took_seconds is None:
        query = select(JobAttempt.started_at).where(JobAttempt.job_id == job.id)
        started_at = session.scalar(query.where(JobAttempt.number == was.attempt))
        if started_at is None:
            return None
        took_seconds = (now - started_at).total_seconds()
    return min(max(0.0, took_seconds), _LONGEST_ATTEMPT_SECONDS)


def _waits(key: FlowKey) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """Return what is true of the jobs of a flow that wait."""
    whose = (Job.caller == key.caller, Job.queue_rank == queue_rank(key.priority))
    return (text(IN_LINE_WORDS), *whose, Job.route.in_(list(line_of(key.route))))


def _write(session: Session, key: FlowKey, **values: float) -> None:
    known = (Flow.line == key.line, Flow.priority == key.priority, Flow.caller == key.caller)
    if not session.execute(update(Flow).where(*known).values(values)).rowcount:  # type: ignore[attr-defined]
        whose = {"line": key.line, "priority": key.priority, "caller": key.caller}
        session.execute(insert(Flow), [{"virtual_start": 0.0, "virtual_finish": 0.0, **whose, **values}])


def _read(session: Session, key: FlowKey) -> FlowState:
    routes = line_of(key.route)
    values: dict[str, Any] = {f"route_{number}": route for number, route in enumerate(routes)}
    values |= {"line": key.line, "priority": key.priority, "caller": key.caller}
    row = session.execute(_state_of(len(routes)), values | {"rank": queue_rank(key.priority)}).one()
    waiting = [row[place : place + 3] for place in range(3, len(row), 3)]
    firsts = [(first, seconds) for first, seconds, _ in waiting if first is not None]
    first, seconds = min(firsts, default=(None, 0.0))
    last = max((last for _, _, last in waiting if last is not None), default=None)
    return FlowState(row[0] or 0.0, row[1] or 0.0, first, seconds, last, row[2])


@cache
def _state_of(routes: int) -> Select[Any]:
    """Return the one statement that reads a flow in a line of so many routes; an index answers each part."""
    here = (Flow.line == bindparam("line"), Flow.priority == bindparam("priority"))
    begun = select(func.max(Flow.virtual_start)).where(*here).scalar_subquery()
    finish = select(Flow.virtual_finish).where(*here, Flow.caller == bindparam("caller")).scalar_subquery()
    runs = (Job.kind.in_([kind.value for kind in JobKind]), Job.status.in_([one.value for one in _HELD]))
    running = select(func.count()).where(Job.caller == bindparam("caller"), *runs).scalar_subquery()
    ends = []
    for number in range(routes):
        waits = (
            text(IN_LINE_WORDS),
            Job.caller == bindparam("caller"),
            Job.route == bindparam(f"route_{number}"),
            Job.queue_rank == bindparam("rank"),
        )
        first, last = Job.virtual_start.asc(), Job.virtual_start.desc()
        ends += [
            select(Job.virtual_start).where(*waits).order_by(first).limit(1).scalar_subquery(),
            select(Job.estimated_seconds).where(*waits).order_by(first).limit(1).scalar_subquery(),
            select(Job.virtual_start + Job.estimated_seconds)
            .where(*waits)
            .order_by(last)
            .limit(1)
            .scalar_subquery(),
        ]
    return select(begun, finish, running, *ends)

"""The line as it is now: what runs with its time left, what waits with its estimate, who can take it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from shared.broker import DEFAULT_ROUTE, ROUTES, route_for
from shared.errors import InvalidOptions
from shared.options import StyleOptions, read_stored_options
from shared.redis.live import LiveProgress
from shared.redis.workers import WorkerBeat
from shared.status import DEFAULT_PRIORITY, JobStatus
from web.backend import Backend
from web.db.models import Asset, Job
from web.jobs.estimates import (
    Forecast,
    MeasuredRun,
    QueueState,
    Work,
    estimate_run,
    measured_runs,
    no_start_reason,
    wait_ahead,
)
from web.jobs.fairness import FlowKey
from web.jobs.places import place_to_join
from web.jobs.queries import WAITS_IN_LINE, count_with_workers, recent_run_seconds
from web.jobs.queue import IN_ORDER
from web.jobs.routing import is_eligible, line_of
from web.jobs.states import PAUSING
from web.jobs.waits import AT_ONCE, Line, Range

Sizes = Mapping[str, tuple[int, int]]
#: The assumed shape of a picture that is not known yet: as wide as the size asked for, 4:3.
_WIDTH_TO_HEIGHT = 4 / 3
#: Of a longer line the rest is taken to be like these: every view of a queued job reads them.
_MOST_READ = 50
#: The runs that estimates rest on.
_MOST_RUNS = 50
#: A running job's speed changes by about so much until it ends, and its result is written then.
_SLOWER, _FASTER, _RESULT_SECONDS = 1.25, 0.85, 1.0
#: An id behind those of one moment.
_AFTER_ALL = "~"
_SHARED_KEY, _AROUND_KEY = "queue", "around the queue"
#: Who joins a short line reads it as it is, and what is around it so old: control, too, looks that often.
_AROUND_SECONDS = 0.2
#: What a worker needs to stop a job: a step, and a checkpoint.
_STOPPING = Range(1.0, 0.0, 5.0)


@dataclass(frozen=True)
class OpenJob:
    """A job that runs or waits: what is left of its work as its row tells, None where that cannot be read."""

    job_id: str
    work: Work | None
    worker_id: str | None = None
    attempt: int = 1
    is_stopping: bool = False
    route: str = DEFAULT_ROUTE


@dataclass(frozen=True)
class LineRows:
    """What the database tells of the line."""

    running: Sequence[OpenJob] = ()
    waiting: Sequence[OpenJob] = ()
    runs: Sequence[MeasuredRun] = field(default_factory=list)
    route: str = DEFAULT_ROUTE


def read_line_rows(session: Session, route: str, runs: Sequence[MeasuredRun] | None = None) -> LineRows:
    """Return what runs, and the first of those that wait in the line of a route, in its order.

    With `runs` the measured ones are not read again.
    """
    held = [JobStatus.RUNNING.value, JobStatus.CANCELING.value]
    running = _open_jobs(session, _NEXT.where(Job.status.in_(held)).order_by(*IN_ORDER).limit(_MOST_READ))
    # Of each route the first: the jobs of several are in no order in the index.
    first = [
        row
        for one in line_of(route)
        for row in session.execute(
            select(*IN_ORDER).where(WAITS_IN_LINE, Job.route == one).order_by(*IN_ORDER).limit(_MOST_READ)
        )
    ]
    ids = [job_id for *_, job_id in sorted(tuple(row) for row in first)[:_MOST_READ]]
    waiting = _open_jobs(session, _NEXT.where(Job.id.in_(ids)).order_by(*IN_ORDER)) if ids else []
    if not running and not waiting:
        return LineRows(route=route)
    if runs is None:
        runs = measured_runs(session, limit=_MOST_RUNS)
    return LineRows(running, waiting, runs, route)


_content, _style = aliased(Asset), aliased(Asset)
_NEXT = (
    select(
        Job.id,
        Job.options,
        Job.step,
        Job.worker_id,
        Job.attempt,
        Job.status,
        Job.status_reason,
        Job.route,
        _content.width,
        _content.height,
        _style.width,
        _style.height,
    )
    .join(_content, _content.id == Job.content_asset_id)
    .join(_style, _style.id == Job.style_asset_id)
)


def _open_jobs(session: Session, query: Select[*tuple[Any, ...]]) -> list[OpenJob]:
    found = []
    for job_id, options, step, worker_id, attempt, status, reason, route, *sizes in session.execute(query):
        is_stopping = status == JobStatus.CANCELING.value or reason == PAUSING
        work = _work_left(options, step, (sizes[0], sizes[1]), (sizes[2], sizes[3]))
        found.append(OpenJob(job_id, work, worker_id, attempt, is_stopping, route))
    return found


def _work_left(options: Any, step: int, content: tuple[int, int], style: tuple[int, int]) -> Work | None:  # noqa: ANN401 - a JSON column
    try:
        told = read_stored_options(options)
        return Work.of_job(told, max(0, told.steps - step), content=content, style=style)
    except (InvalidOptions, TypeError, ValueError, ZeroDivisionError):
        return None


def make_line(rows: LineRows, beats: Sequence[WorkerBeat], live: Mapping[str, LiveProgress]) -> Line:
    """Return the line for the workers that take its jobs.

    What another worker has, one that drains or is lost, comes back and is the first in line.
    """
    takers = [beat for beat in beats if is_eligible(beat, rows.route)]
    devices = {beat.device for beat in takers}
    # Of several that one worker is said to have, what goes on counts, not what it is to stop.
    by_end = sorted(rows.running, key=lambda job: not job.is_stopping)
    held = {job.worker_id: job for job in by_end if job.worker_id}
    known: dict[Work, Range | None] = {}

    def run_of(job: OpenJob) -> Range | None:
        if job.work is None:
            return None
        if job.work not in known:
            known[job.work] = _estimate(job.work, rows.runs, devices)
        return known[job.work]

    left = [
        AT_ONCE
        if (job := held.get(beat.worker_id)) is None
        else time_left(job, live.get(job.job_id), run_of(job))
        for beat in takers
    ]
    routes = line_of(rows.route)
    everybody = {beat.worker_id for beat in beats if beat.takes_jobs}
    back = [
        job
        for job in rows.running
        if job.worker_id not in everybody and not job.is_stopping and job.route in routes
    ]
    waiting = [time_left(job, live.get(job.job_id), run_of(job)) for job in back]
    return Line(left, [*waiting, *(run_of(job) for job in rows.waiting)], unplaced=len(back))


def time_left(job: OpenJob, live: LiveProgress | None, estimate: Range | None) -> Range | None:
    """Return how long a running job will go on: by its own speed, else by the estimate of its steps left."""
    if job.is_stopping:
        return _STOPPING
    if live is None or live.attempt != job.attempt or not live.steps_per_second or live.steps_per_second < 0:
        # It may have gone on for a while since its last checkpoint.
        return estimate and replace(estimate, low=estimate.low / 2)
    seconds = max(0, live.steps - live.step) / live.steps_per_second
    return Range(seconds + _RESULT_SECONDS / 2, seconds * _FASTER, seconds * _SLOWER + _RESULT_SECONDS)


def _estimate(work: Work, runs: Sequence[MeasuredRun], devices: Collection[str]) -> Range | None:
    found = estimate_run(work, runs, devices=devices)
    return None if found is None else Range(found.seconds, found.low, found.high)


def look_at_line(backend: Backend, rows: LineRows, beats: Sequence[WorkerBeat] | None) -> Line | None:
    """Return the line as it is now; None when the workers cannot be asked. Redis is asked."""
    if beats is None:
        return None
    return make_line(rows, beats, backend.live.progress([job.job_id for job in rows.running]))


def queue_state(
    backend: Backend,
    rows: LineRows,
    *,
    running: int,
    run_seconds: Sequence[float],
    beats: Sequence[WorkerBeat] | None,
    control_fault: str | None,
    runs: Sequence[MeasuredRun] = (),
) -> QueueState:
    """Return the state of the queue with the line in it; Redis is asked. `runs` are for who joins it."""
    takers = None if beats is None else [beat for beat in beats if is_eligible(beat, rows.route)]
    line = look_at_line(backend, rows, beats)
    no_start = no_start_reason(beats, control_fault=control_fault, route=rows.route)
    devices = frozenset(beat.device for beat in takers or ())
    workers = None if takers is None else len(takers)
    return QueueState(running, workers, run_seconds, no_start, line, runs, devices)


def read_shared_queue(
    backend: Backend, route: str = DEFAULT_ROUTE, *, since: float | None = None
) -> QueueState:
    """Return the queue for a route as it was at most a second ago, or after `since` (of `time.monotonic`).

    Every look at a queued job needs it, and reading it costs more than all else of that look. What others
    have done meanwhile (a worker that came, a job that began) shows a second later; what was asked of a job
    here, at once.

    Raises:
        DatabaseUnavailable: when the database cannot be asked.
    """
    return backend.shared.get((_SHARED_KEY, route), lambda: _read_queue(backend, route), since=since)


def read_queue_to_join(backend: Backend, route: str) -> QueueState:
    """Return the queue for one who joins the line of a route now: as it is, if that tells him anything.

    Where more wait than are read, his wait rests on his place and on those far ahead of him, and these are as
    they were a moment ago.

    Raises:
        DatabaseUnavailable: when the database cannot be asked.
    """
    known = known_queue(backend, route)
    if known is not None and known.line is not None and known.line.placed >= _MOST_READ:
        return known
    return read_shared_queue(backend, route, since=time.monotonic())


def known_queue(backend: Backend, route: str) -> QueueState | None:
    """Return what `read_shared_queue` would return without asking anybody; None if it would have to."""
    found: QueueState | None = backend.shared.peek((_SHARED_KEY, route))
    return found


def note_queue_change(backend: Backend) -> None:
    """Have the shared state of the queue read again: this process has changed what waits or runs."""
    for route in ROUTES:
        backend.shared.forget((_SHARED_KEY, route))


def _read_queue(backend: Backend, route: str) -> QueueState:
    seconds = min(_AROUND_SECONDS, backend.shared.stale_seconds)
    around = backend.shared.get(
        (_AROUND_KEY, route), lambda: _read_around(backend, route), since=time.monotonic() - seconds
    )
    with backend.database.read() as session:
        running, rows = count_with_workers(session, route), read_line_rows(session, route, around.runs)
    return queue_state(
        backend,
        rows,
        running=running,
        run_seconds=around.run_seconds,
        beats=around.beats,
        control_fault=around.control_fault,
        runs=around.runs,
    )


@dataclass(frozen=True)
class _Around:
    """What a line rests on beside its own jobs: who takes them, and how long others took."""

    runs: Sequence[MeasuredRun]
    run_seconds: Sequence[float]
    beats: Sequence[WorkerBeat] | None
    control_fault: str | None


def _read_around(backend: Backend, route: str) -> _Around:
    with backend.database.read() as session:
        runs, run_seconds = measured_runs(session, limit=_MOST_RUNS), recent_run_seconds(session, route)
    return _Around(runs, run_seconds, backend.live.workers(), backend.live.control_fault())


def make_forecast(
    backend: Backend,
    options: StyleOptions,
    sizes: Sizes,
    *,
    now: datetime,
    caller: str,
    priority: int = DEFAULT_PRIORITY,
) -> Forecast:
    """Return the forecast for a job submitted now; `sizes` has the (width, height) of pictures known so far.

    Raises:
        DatabaseUnavailable: when the database cannot be asked.
    """
    assumed = options.size, round(options.size / _WIDTH_TO_HEIGHT)
    work = Work.of_job(
        options,
        options.steps,
        content=sizes.get("content", assumed),
        style=sizes.get("style", assumed),
    )
    route = route_for(options.methods)
    with backend.database.read() as session:
        runs = measured_runs(session)
        position = place_to_join(session, FlowKey(caller, route, priority), now, _AFTER_ALL)
        running, run_seconds = count_with_workers(session, route), recent_run_seconds(session, route)
        rows = read_line_rows(session, route)
    beats = backend.live.workers()
    state = queue_state(
        backend,
        rows,
        running=running,
        run_seconds=run_seconds,
        beats=beats,
        control_fault=backend.live.control_fault(),
    )
    ahead = wait_ahead(position, state)
    return Forecast(
        run=estimate_run(
            work, runs, devices={beat.device for beat in beats or () if is_eligible(beat, route)}
        ),
        position=position,
        ahead_seconds=None if ahead is None else ahead.likely,
        workers=state.workers,
        no_start=state.no_start,
        ahead_low=None if ahead is None else ahead.low,
        ahead_high=None if ahead is None else ahead.high,
    )

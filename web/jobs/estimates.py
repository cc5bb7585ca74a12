"""Estimates: how long a job will run and wait, from the measured runs of similar jobs on this service."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session, aliased

from shared.errors import InvalidOptions
from shared.logs import get_logger
from shared.options import Method, StyleOptions, read_stored_options
from shared.picture import scaled_size
from shared.redis.workers import WorkerBeat, WorkerState
from web.db.models import COMPLETE_RUN_WORDS, Asset, Job
from web.jobs.routing import LINES, why_not_served
from web.jobs.states import REUSED
from web.jobs.waits import Line, Range, measured_seconds
from web.words import span

#: Runs that an estimate uses at most: those nearest in work, the newer ones first.
_NEAREST = 12
#: A run whose work is off by this factor more than that of the nearest run is not used.
_MAX_FACTOR = 4
#: The work of a target as a share of a step's: a forward pass; a step is a forward and a backward pass.
_TARGET_SHARE = 1 / 3
#: The share of runs that a range leaves out at either end.
_TAIL_SHARE = 0.1
#: A range reaches at least this share to either side, however alike the runs were; more while there are few.
_LEAST_SPREAD = 0.1
_SPREAD_OF_ONE = 0.2
#: For a pixel of a step, between a fast GPU and a slow CPU. What counts is that it is the same for all.
_GUESSED_SECONDS = 1e-6
_log = get_logger(__name__)
#: More than any release has allowed.
_MOST_STEPS, _LARGEST_PX = 1_000_000, 100_000


def measured_runs(session: Session, *, limit: int = 200) -> list[MeasuredRun]:
    """Return the last complete runs of each line, those of the newest jobs first.

    Drafts are left out, and jobs that were reused, forked, extended, resumed or restarted: their seconds do
    not cover all of their steps. Newest by `created_at`, as in the index of these jobs.
    """
    return [run for line in LINES for run in _measured_runs(session, line, limit=limit)]


def _measured_runs(session: Session, routes: Sequence[str], *, limit: int) -> list[MeasuredRun]:
    content, style = aliased(Asset), aliased(Asset)
    query = (
        select(
            Job.created_at,
            Job.metrics,
            Job.options,
            Job.device,
            content.width,
            content.height,
            style.width,
            style.height,
        )
        .join(content, content.id == Job.content_asset_id)
        .join(style, style.id == Job.style_asset_id)
        .where(text(COMPLETE_RUN_WORDS), or_(Job.status_reason.is_(None), Job.status_reason != REUSED))
        .order_by(Job.created_at.desc())
        .limit(limit)
    )
    # One by one: the jobs of several routes are in no order in the index.
    rows = [tuple(row) for route in routes for row in session.execute(query.where(Job.route == route))]
    rows = sorted(rows, key=lambda row: row[0], reverse=True)[:limit]
    runs = []
    for _, metrics, options, device, *sizes in rows:
        seconds = measured_seconds(metrics)
        if seconds is None:
            continue
        try:
            told = read_stored_options(options)
            if not (0 < told.steps <= _MOST_STEPS and 0 < told.size <= _LARGEST_PX):
                raise ValueError(f"nobody makes {told.steps} steps at {told.size} px")
            work = Work.of_job(told, told.steps, content=(sizes[0], sizes[1]), style=(sizes[2], sizes[3]))
        except (InvalidOptions, TypeError, ValueError, ZeroDivisionError) as error:
            _log.warning("run_unreadable", reason=str(error))  # it is left out
        else:
            runs.append(MeasuredRun(work, device, seconds))
    return runs


@dataclass(frozen=True)
class Work:
    """The work of a job: steps, how many pixels content and style have at their working size, and method."""

    steps: int
    content_px: int
    style_px: int
    method: str = Method.GATYS.value

    @classmethod
    def of_job(
        cls, options: StyleOptions, steps: int, *, content: tuple[int, int], style: tuple[int, int]
    ) -> Work:
        """Return the work of so many steps of a job on pictures of these (width, height) in pixels."""
        content_px, style_px = (
            math.prod(scaled_size(*picture, size=options.size)) for picture in (content, style)
        )
        return cls(steps, content_px, style_px, options.method)

    @property
    def amount(self) -> float:
        """The work in pixels, summed over all steps; run time grows with it on any one device."""
        return self.steps * self.content_px + _TARGET_SHARE * (self.content_px + self.style_px)


@dataclass(frozen=True)
class MeasuredRun:
    """One run from its first step to its last, on one device, with its duration in seconds."""

    work: Work
    device: str | None
    run_seconds: float


@dataclass(frozen=True)
class Estimate:
    """An estimated run time in seconds, the range of most jobs, and the number of runs it is based on."""

    seconds: float
    low: float
    high: float
    count: int


def estimate_run(
    work: Work, runs: Sequence[MeasuredRun], *, devices: Collection[str] = ()
) -> Estimate | None:
    """Return the estimated run time of a job; None while nothing is measured.

    Args:
        work: The job's work.
        runs: The measured runs, newest first.
        devices: Those that are connected now; runs on others are used only when there are none on these.
    """
    fitting = [
        run for run in runs if run.run_seconds > 0 and run.work.amount > 0 and run.work.method == work.method
    ]
    fitting = [run for run in fitting if run.device in devices] or fitting
    if not fitting:
        return None
    # Sorting is stable: of runs that are equally near, the newer ones stay first.
    ordered = sorted(fitting, key=lambda run: abs(_distance(run.work, work)))
    reach = abs(_distance(ordered[0].work, work)) + math.log(_MAX_FACTOR)
    nearest = [run for run in ordered[:_NEAREST] if abs(_distance(run.work, work)) <= reach]
    scaled = [(run.run_seconds, work.amount / run.work.amount) for run in nearest]
    seconds = sorted(took * ratio for took, ratio in scaled)
    # Part of a run's time does not grow with its work: a larger job may take less time than in proportion,
    # and a smaller one more; the larger the difference, the more so.
    lows = sorted(took * min(ratio, ratio**0.5) for took, ratio in scaled)
    highs = sorted(took * max(ratio, ratio**0.5) for took, ratio in scaled)
    spread = _LEAST_SPREAD + _SPREAD_OF_ONE / len(nearest)
    low = min(_quantile(lows, _TAIL_SHARE), median(lows) * (1 - spread))
    high = max(_quantile(highs, 1 - _TAIL_SHARE), median(highs) * (1 + spread))
    return Estimate(
        seconds=round(median(seconds), 1), low=round(low, 1), high=round(high, 1), count=len(nearest)
    )


def reckon_seconds(work: Work, run: Estimate | None) -> float:
    """Return how long a job is reckoned to have a device; a guess in proportion while nothing is measured."""
    return work.amount * _GUESSED_SECONDS if run is None else run.seconds


def _distance(measured: Work, work: Work) -> float:
    """Return the logarithm of the ratio of the work to the measured work."""
    return math.log(work.amount / measured.amount)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@dataclass(frozen=True)
class QueueState:
    """The state of the whole queue; `workers` is how many take jobs, None while Redis cannot be asked.

    `no_start` says why no job can start, if none can: as `no_start_reason` has it.
    """

    running: int
    workers: int | None
    run_seconds: Sequence[float]
    no_start: str | None = None
    #: What is known of each that runs and waits; without it all are taken to be like the last ones.
    line: Line | None = None
    #: What estimates rest on, and the devices of the workers that take the jobs.
    runs: Sequence[MeasuredRun] = ()
    devices: frozenset[str] = frozenset()


#: Advice that holds beside `atelier up`, whose Redis is its own, and for every other service.
START_ONE = "start one: 'atelier worker add' where 'atelier up' runs, else 'atelier-worker run'"


def no_start_reason(
    beats: Sequence[WorkerBeat] | None, *, control_fault: str | None = None, route: str | None = None
) -> str | None:
    """Return why no job, or none of a route, can start, in words without a full stop; None when one can.

    `beats` are those of all workers, None while Redis cannot be asked.
    """
    if beats is None:
        return "Redis does not answer; jobs are kept, and start when it is back"
    if control_fault is not None:
        return control_fault
    if route is not None and (unserved := why_not_served(beats, route)) is not None:
        return f"{unserved}; {START_ONE}"
    if any(beat.takes_jobs for beat in beats):
        return None
    unhealthy = [beat.reason for beat in beats if beat.state is WorkerState.UNHEALTHY]
    if unhealthy:
        return "no worker takes jobs for now" + (f": {unhealthy[0]}" if unhealthy[0] else "")
    draining = sum(beat.state is WorkerState.DRAINING for beat in beats)
    if draining:
        who = "the only worker" if draining == 1 else "every worker"
        return f"{who} is draining and takes no more jobs; {START_ONE}"
    return f"no worker is connected; {START_ONE}"


def wait_ahead(position: int, state: QueueState) -> Range | None:
    """Return the time until the job at `position` (1 is next) starts, from now; None if unknown.

    It rests on the time left of what runs and the estimates of what waits; where one of these is not known,
    on the mean of the last runs alone, and then it may be anything between nothing and twice of that.
    """
    if not state.workers:
        return None
    found = None if state.line is None else state.line.wait(position)
    if found is not None:
        return found
    seconds = _mean_ahead(position, state)
    return None if seconds is None else Range(seconds, 0.0, 2 * seconds)


def seconds_ahead(position: int, state: QueueState) -> float | None:
    """Return the seconds until the job at `position` (1 is next) is likely to start; None if unknown."""
    found = wait_ahead(position, state)
    return None if found is None else found.likely


def _mean_ahead(position: int, state: QueueState) -> float | None:
    """Return the wait if jobs run as long as the last ones on average, and running ones are half done."""
    if not state.workers:
        return None
    ahead = position - 1 - max(0, state.workers - state.running)
    if ahead < 0:
        return 0.0
    if not state.run_seconds:
        return None
    return round(fmean(state.run_seconds) * (ahead + 0.5) / state.workers, 1)


@dataclass(frozen=True)
class Forecast:
    """The estimated run and wait of a job that is not submitted yet; `position` 1 is the next to start.

    `run` is None while nothing is measured, `workers` while Redis is unavailable, `ahead_seconds` in both;
    `no_start` is why no job can start, if none can.
    """

    run: Estimate | None
    position: int
    ahead_seconds: float | None
    workers: int | None
    no_start: str | None = None
    #: Few jobs wait less, and few more.
    ahead_low: float | None = None
    ahead_high: float | None = None


def run_message(run: Estimate | None) -> str:
    """Return how long a job runs, as a sentence without its full stop."""
    if run is None:
        return "nothing measured yet: the first job on this service will tell"
    jobs = "1 job" if run.count == 1 else f"{run.count} jobs"
    return f"about {span(run.seconds)} ({span(run.low)} to {span(run.high)}, from {jobs} on this service)"


def wait_message(forecast: Forecast) -> str:
    """Return what a job waits for before it starts, as a sentence without its full stop."""
    if forecast.no_start is not None:
        return forecast.no_start
    if forecast.ahead_seconds == 0:
        return "a worker is free: it starts at once"
    ahead = forecast.position - 1
    before = "the next in line" if ahead == 0 else "1 job ahead" if ahead == 1 else f"{ahead} jobs ahead"
    if forecast.ahead_seconds is None:
        return before
    return f"{before}, {about_words(forecast.ahead_seconds, forecast.ahead_low, forecast.ahead_high)}"


def about_words(seconds: float, low: float | None = None, high: float | None = None) -> str:
    """Return a wait in words, with its range where one is known and it reads otherwise."""
    about = f"about {span(seconds)}"
    if low is None or high is None or span(low) == span(high):
        return about
    return f"{about} ({span(low)} to {span(high)})"

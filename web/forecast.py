"""What someone who is about to hand in a job may expect: how long it runs, and how long it waits before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.options import StyleOptions
from web.estimate import Estimate, Work, estimate_run
from web.pages.words import span
from web.queue_outlook import QueueState, no_start_reason, seconds_ahead
from web.repository.jobs import recent_run_seconds
from web.repository.measured_runs import measured_runs
from web.repository.queue import count_queued, count_with_workers
from web.services import Services

Sizes = Mapping[str, tuple[int, int]]
#: What a picture that is not known yet is taken to be: as wide as is asked for, 4:3.
_WIDTH_TO_HEIGHT = 4 / 3


@dataclass(frozen=True)
class Forecast:
    """`run` is None while nothing is measured, `workers` while Redis is away, `ahead_seconds` in both."""

    run: Estimate | None
    position: int
    ahead_seconds: float | None
    workers: int | None


def make_forecast(services: Services, options: StyleOptions, sizes: Sizes) -> Forecast:
    """Return the forecast for a job handed in now, on pictures whose (width, height) are as known so far.

    Raises:
        DatabaseUnavailable: when the database cannot be asked.
    """
    assumed = options.size, round(options.size / _WIDTH_TO_HEIGHT)
    work = Work.of(
        options.steps,
        options.size,
        content=sizes.get("content", assumed),
        style=sizes.get("style", assumed),
    )
    with services.database.read() as session:
        runs = measured_runs(session)
        position = count_queued(session) + 1
        running, run_seconds = count_with_workers(session), recent_run_seconds(session)
    beats = services.live.workers()
    eligible = None if beats is None else [beat for beat in beats if beat.takes_jobs]
    state = QueueState(running, None if eligible is None else len(eligible), run_seconds)
    devices = {beat.device for beat in eligible or ()}
    return Forecast(
        run=estimate_run(work, runs, devices=devices),
        position=position,
        ahead_seconds=seconds_ahead(position, state),
        workers=state.workers,
    )


def run_message(run: Estimate | None) -> str:
    """Return how long a job runs, in a sentence without its stop."""
    if run is None:
        return "nothing measured yet: the first job on this service will tell"
    jobs = "1 job" if run.count == 1 else f"{run.count} jobs"
    return f"about {span(run.seconds)} ({span(run.low)} to {span(run.high)}, from {jobs} on this service)"


def wait_message(forecast: Forecast) -> str:
    """Return what a job waits for before it starts, in a sentence without its stop."""
    reason = no_start_reason(forecast.workers)
    if reason is not None:
        return reason
    if forecast.ahead_seconds == 0:
        return "a worker is free: it starts at once"
    ahead = forecast.position - 1
    before = "the next in line" if ahead == 0 else "1 job ahead" if ahead == 1 else f"{ahead} jobs ahead"
    return before if forecast.ahead_seconds is None else f"{before}, about {span(forecast.ahead_seconds)}"

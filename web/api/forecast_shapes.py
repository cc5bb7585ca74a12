"""The shapes of what is foretold of a job that is not handed in yet."""

from __future__ import annotations

from pydantic import BaseModel, Field

from web.api.job_shapes import QueueOut
from web.api.shapes import Options
from web.forecast import Forecast, run_message, wait_message


class EstimateOut(BaseModel):
    """How long a job would run, from what the last jobs took on this service, and what it would wait for."""

    seconds: float | None = Field(
        description="From its first step to its result; null: nothing is measured yet"
    )
    low: float | None = Field(description="Few jobs take less")
    high: float | None = Field(description="Few jobs take more")
    count: int = Field(description="How many jobs this was measured at")
    message: str = Field(description="The same in words")
    queue: QueueOut


class SizeOut(BaseModel):
    """A size in pixels."""

    width: int
    height: int


class WorkingSizesOut(BaseModel):
    """The sizes both pictures are worked on at."""

    content: SizeOut
    style: SizeOut


class ValidationOut(BaseModel):
    """What a job would be carried out with; nothing of it is stored."""

    options: Options
    working_size: WorkingSizesOut
    estimate: EstimateOut


def estimate_out(forecast: Forecast) -> EstimateOut:
    """Return a forecast as the API shows it."""
    run = forecast.run
    return EstimateOut(
        seconds=run and run.seconds,
        low=run and run.low,
        high=run and run.high,
        count=run.count if run else 0,
        message=run_message(run),
        queue=QueueOut(
            position=forecast.position,
            ahead_seconds=forecast.ahead_seconds,
            eligible_workers=forecast.workers,
            message=wait_message(forecast),
        ),
    )

"""The wait that is told: exact where all is known, and right often enough in a simulated service."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

import pytest

from shared.redis.live import LiveProgress
from shared.redis.workers import WorkerBeat, WorkerState
from web.jobs.estimates import MeasuredRun, QueueState, Work, about_words, wait_ahead
from web.jobs.line import LineRows, OpenJob, make_line, time_left
from web.jobs.waits import AT_ONCE, Line, Range

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TEN, MINUTE = Range(10, 10, 10), Range(60, 50, 80)


def beat(name: str, state: WorkerState = WorkerState.IDLE) -> WorkerBeat:
    return WorkerBeat(worker_id=name, device="gpu", weights="w", started_at=NOW, at=NOW, state=state)


def live(step: int, steps: int, speed: float | None) -> LiveProgress:
    return LiveProgress(
        attempt=1, step=step, steps=steps, loss_total=1, loss_content=1, loss_style=1, steps_per_second=speed
    )


@pytest.mark.parametrize(
    ("left", "waiting", "position", "likely"),
    [
        ([AT_ONCE], [], 1, 0),
        ([TEN], [], 1, 10),
        ([TEN], [TEN, TEN], 3, 30),
        ([TEN, MINUTE], [TEN, TEN, TEN], 4, 40),  # all on the worker that is free sooner
        ([AT_ONCE, MINUTE], [MINUTE, TEN], 2, 60),
        ([None, AT_ONCE], [], 1, 0),  # a worker is free, whatever the other does
        ([None, AT_ONCE], [TEN], 2, None),
        ([TEN], [None], 1, 10),
        ([TEN], [None], 2, None),
        ([], [], 1, None),
        ([TEN], [TEN] * 4, 9, 90),  # as far behind those that were read as they are long
    ],
)
def test_the_wait_is_that_of_the_worker_that_is_free_first(left, waiting, position, likely):
    found = Line(left, waiting).wait(position)
    assert (found and found.likely) == (None if likely is None else likely)


def test_errors_grow_slower_than_the_line_and_faster_than_its_root():
    widths = [
        found.high - found.low
        for count in (1, 4, 16)
        if (found := Line([MINUTE], [MINUTE] * count).wait(count))
    ]
    assert widths[0] < 2 * widths[0] < widths[1] < 4 * widths[0]
    assert 2 * widths[1] < widths[2] < 4 * widths[1]


def test_what_leaving_workers_have_comes_first_again():
    work, runs = Work(10, 100, 100), [MeasuredRun(Work(10, 100, 100), "gpu", 10.0)]
    rows = LineRows(
        [OpenJob("a", work, "gone"), OpenJob("b", work, "leaving"), OpenJob("c", work, "busy")], [], runs
    )
    line = make_line(rows, [beat("busy", WorkerState.BUSY), beat("leaving", WorkerState.DRAINING)], {})
    assert len(line.left) == 1
    assert line.wait(1).likely == 30


def test_time_left_is_told_by_the_jobs_own_speed():
    job, estimate = OpenJob("a", Work(10, 1, 1), "w"), Range(100, 80, 130)
    told = time_left(job, live(40, 100, 0.5), estimate)
    assert told.low < 120 < told.likely < told.high < 160
    for unknown in (None, live(0, 100, None), live(0, 100, 0.0)):
        assert time_left(job, unknown, estimate) == Range(100, 40, 130)
    assert time_left(job, None, None) is None
    stopping = OpenJob("a", None, "w", is_stopping=True)
    assert time_left(stopping, None, None).high < 10


def test_without_a_line_the_mean_is_told_with_all_that_it_may_be():
    assert wait_ahead(2, QueueState(1, 1, [10.0])) == Range(15.0, 0.0, 30.0)
    assert wait_ahead(2, QueueState(1, 0, [10.0], line=Line([], []))) is None
    assert wait_ahead(1, QueueState(1, 1, [10.0], line=Line([MINUTE], []))) == MINUTE


def test_words_of_a_range():
    assert about_words(30.0, 20.0, 45.0) == "about 30 s (20 s to 45 s)"
    assert about_words(30.0) == "about 30 s"
    assert about_words(30.0, 30.0, 30.0) == "about 30 s"


@dataclass
class Running:
    job: OpenJob
    started: float
    ends: float


@dataclass
class Service:
    """A service under a virtual clock: how fast it is varies by job and day, and it knows none of that."""

    workers: int
    seed: int
    now: float = 0.0
    told: list[tuple[Range | None, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.line: list[tuple[OpenJob, float, Range | None]] = []
        self.running: dict[str, Running] = {}
        self.runs: list[MeasuredRun] = []
        self.day = self.chance.lognormvariate(0, 0.1)

    def seconds_of(self, work: Work) -> float:
        return 3 + work.amount / 2e6 * self.day * self.chance.lognormvariate(0, 0.12)

    def wait_of_next(self) -> Range | None:
        progress = {}
        for running in self.running.values():
            share = (self.now - running.started) / (running.ends - running.started)
            steps, step = running.job.work.steps, int(share * running.job.work.steps)
            if step >= 2:
                speed = step / (self.now - running.started) * self.chance.lognormvariate(0, 0.05)
                progress[running.job.job_id] = live(step, steps, speed)
        rows = LineRows(
            [running.job for running in self.running.values()],
            [job for job, *_ in self.line],
            self.runs[:100],
        )
        line = make_line(rows, [beat(f"w{number}") for number in range(self.workers)], progress)
        return line.wait(len(self.line) + 1)

    def submit(self, number: int) -> None:
        side = self.chance.choice([256, 512, 512, 800])
        work = Work(self.chance.choice([40, 100, 100, 200]), side * side * 3 // 4, side * side * 3 // 4)
        self.line.append((OpenJob(f"j{number}", work), self.now, self.wait_of_next()))
        self.start()

    def start(self) -> None:
        for name in [f"w{number}" for number in range(self.workers)]:
            if name in self.running or not self.line:
                continue
            job, asked, told = self.line.pop(0)
            self.told.append((told, self.now - asked))
            seconds = self.seconds_of(job.work)
            self.running[name] = Running(OpenJob(job.job_id, job.work, name), self.now, self.now + seconds)

    def run(self, jobs: int) -> None:
        arrivals, at = [], 0.0
        for number in range(jobs):
            at += self.chance.expovariate(self.workers / 28) if number % 7 else 0.0
            arrivals.append((at, number))
        heapq.heapify(arrivals)
        while arrivals or self.running:
            ends = min(((one.ends, name) for name, one in self.running.items()), default=(math.inf, ""))
            if arrivals and arrivals[0][0] <= ends[0]:
                self.now, number = heapq.heappop(arrivals)
                self.submit(number)
            else:
                self.now = ends[0]
                ended = self.running.pop(ends[1])
                self.runs.insert(0, MeasuredRun(ended.job.work, "gpu", ended.ends - ended.started))
                self.start()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_eight_of_ten_waits_end_inside_what_was_told(workers):
    waits = []
    for seed in range(6):
        service = Service(workers, seed)
        service.run(150)
        waits += [(told, waited) for told, waited in service.told[20:] if told is not None and waited > 0]
    assert len(waits) > 200
    inside = sum(told.low - 1 <= waited <= told.high + 1 for told, waited in waits) / len(waits)
    error = median(abs(told.likely - waited) / waited for told, waited in waits)
    width = median((told.high - told.low) / told.likely for told, waited in waits if told.likely)
    numbers = f"{workers} workers: {inside:.0%} inside, median error {error:.0%}, width {width:.0%}"
    assert inside >= 0.8, numbers
    assert error < 0.15, numbers
    assert width < 0.8, numbers

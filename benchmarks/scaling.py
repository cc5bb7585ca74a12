"""Jobs a second with 1, 2, 4 … sleeping workers, as a Markdown table: what one control plane keeps busy.

Redis, web, control and nodes are real processes; the nodes' engine sleeps in the place of each step. All of
them share this machine, so the first table ends where its processors do. The second says what a job costs
what all workers share.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

import click

from benchmarks.machine import machine_line, processor_seconds
from shared.logs import configure_logs
from shared.settings import Settings
from tests.chaos.cluster import Cluster
from tests.chaos.pace import Pace
from tests.support.waiting import wait_until
from web.cli.client import ApiClient
from web.cli.views import JobFields

_EXAMPLES = Path(__file__).parents[1] / "web" / "static" / "examples" / "small"
#: As the service has them by default: the leases of the chaos runs are short.
_PACE = Pace(lease=30, renew=5, rescue=3, dispatch=0.2, stall=120, worker=30)
_SUBMITTERS = 4


@click.command()
@click.option("--workers", "most", default=64, show_default=True, help="Most workers.")
@click.option(
    "--factor", default=2, show_default=True, help="How many times as many workers there are each time."
)
@click.option("--steps", default=20, show_default=True, help="Steps of each job.")
@click.option("--step-seconds", default=0.1, show_default=True, help="How long a step sleeps, in seconds.")
@click.option("--jobs", "each", default=6, show_default=True, help="Jobs for each worker.")
def main(most: int, factor: int, steps: int, step_seconds: float, each: int) -> None:
    """Measure, and print the table."""
    configure_logs(Settings(log_level="error"))
    rows: list[Row] = []
    workers = 1
    while workers <= most:
        rows.append(measure(workers, steps, step_seconds, workers * each))
        click.echo(rows[-1], err=True)
        workers *= factor
    said = f"--workers {most} --factor {factor} --steps {steps} --step-seconds {step_seconds:g} --jobs {each}"
    click.echo(f"`python -m benchmarks.scaling {said}`, {machine_line()}\n")
    click.echo("| workers | jobs a second | if proportional | part of it | processors busy |")
    click.echo("|---:|---:|---:|---:|---:|")
    first = rows[0].rate
    for row in rows:
        proportional = first * row.workers
        click.echo(
            f"| {row.workers} | {row.rate:.2f} | {proportional:.2f} | {row.rate / proportional:.0%} | "
            f"{row.busy:.1f} |"
        )
    click.echo("\n| workers | " + " | ".join(Cost.HEADINGS) + " |")
    click.echo("|---:" * (1 + len(Cost.HEADINGS)) + "|")
    for row in rows:
        click.echo(f"| {row.workers} | " + " | ".join(row.cost.cells()) + " |")


@dataclass(frozen=True)
class Cost:
    """What jobs have cost: processor time in seconds by process, what Redis was asked, what was written."""

    HEADINGS: ClassVar = (
        "web, ms a job",
        "control, ms a job",
        "Redis, ms a job",
        "Redis commands a job",
        "kB to Redis a job",
        "kB in the database a job",
    )

    web_seconds: float
    control_seconds: float
    redis_seconds: float
    commands: float
    sent_bytes: float
    database_bytes: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*(mine - theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __truediv__(self, jobs: int) -> Cost:
        return Cost(*(value / jobs for value in astuple(self)))

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        times = (self.web_seconds, self.control_seconds, self.redis_seconds)
        sizes = (self.sent_bytes, self.database_bytes)
        return [
            *(f"{seconds * 1000:.1f}" for seconds in times),
            f"{self.commands:.0f}",
            *(f"{size / 1000:.1f}" for size in sizes),
        ]


@dataclass(frozen=True)
class Row:
    """What was seen with so many workers: jobs a second, processors busy, and the cost of a job."""

    workers: int
    rate: float
    busy: float
    cost: Cost


def measure(workers: int, steps: int, step_seconds: float, jobs: int) -> Row:
    """Return what is seen with so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(
            Path(folder) / "run", workers=workers, engine="sleeping", step_seconds=step_seconds, pace=_PACE
        )
        with cluster, ApiClient(cluster.url) as client:
            ids = [str(client.upload(_EXAMPLES / f"{part}.jpg")["id"]) for part in ("content", "style")]
            fields = JobFields({"steps": steps, "size": 64}, reuse=False)

            def submit(_: int) -> None:
                client.submit(*ids, fields)

            began, busy, cost = monotonic(), _busy_seconds(), _cost(cluster)
            with ThreadPoolExecutor(_SUBMITTERS) as pool:
                list(pool.map(submit, range(jobs)))
            wait_until(lambda: cluster.count(final=True) == jobs, seconds=600, what="all jobs end")
            took = monotonic() - began
            spent = (_cost(cluster) - cost) / jobs
            return Row(workers, jobs / took, (_busy_seconds() - busy) / took, spent)


def _cost(cluster: Cluster) -> Cost:
    """Return what has been spent so far."""
    redis: dict[str, Any] = cluster.client.info()  # type: ignore[assignment] # not a promise: it is no pipeline
    with closing(sqlite3.connect(cluster.settings.data_dir / "atelier.db")) as database:
        (pages,), (page_bytes,) = (
            database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
    return Cost(
        web_seconds=_spent_seconds([cluster.web.pid, *cluster.web.children()]),
        control_seconds=_spent_seconds([cluster.control.pid, *cluster.control.children()]),
        redis_seconds=redis["used_cpu_user"] + redis["used_cpu_sys"],
        commands=redis["total_commands_processed"],
        sent_bytes=redis["total_net_input_bytes"],
        database_bytes=pages * page_bytes,
    )


def _spent_seconds(pids: Sequence[int]) -> float:
    """Return the processor time of some processes so far."""
    return sum(map(processor_seconds, pids))


def _busy_seconds() -> float:
    """Return how many seconds the processors have worked since the machine was started."""
    with Path("/proc/stat").open() as file:
        user, nice, system, _, _, hard, soft, *_ = (int(word) for word in file.readline().split()[1:])
    return (user + nice + system + hard + soft) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

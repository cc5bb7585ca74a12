"""Jobs a second with 1, 2, 4 … sleeping workers, as a Markdown table: what one control plane keeps busy.

Redis, web, control and nodes are real processes; the nodes' engine sleeps in the place of each step. All of
them share this machine, so the table ends where its processors do.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import click

from benchmarks.machine import machine_line
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
@click.option(
    "--workers", "most", default=64, show_default=True, help="Most workers; powers of two up to it."
)
@click.option("--steps", default=20, show_default=True, help="Steps of each job.")
@click.option("--step-seconds", default=0.1, show_default=True, help="How long a step sleeps, in seconds.")
@click.option("--jobs", "each", default=6, show_default=True, help="Jobs for each worker.")
def main(most: int, steps: int, step_seconds: float, each: int) -> None:
    """Measure, and print the table."""
    rows = []
    workers = 1
    while workers <= most:
        rows.append((workers, *measure(workers, steps, step_seconds, workers * each)))
        click.echo(f"{workers} workers: {rows[-1]}", err=True)
        workers *= 2
    said = f"--workers {most} --steps {steps} --step-seconds {step_seconds:g} --jobs {each}"
    click.echo(f"`python -m benchmarks.scaling {said}`, {machine_line()}\n")
    click.echo("| workers | jobs a second | if proportional | part of it | processors busy |")
    click.echo("|---:|---:|---:|---:|---:|")
    first = rows[0][1]
    for count, rate, busy in rows:
        click.echo(
            f"| {count} | {rate:.2f} | {first * count:.2f} | {rate / first / count:.0%} | {busy:.1f} |"
        )


def measure(workers: int, steps: int, step_seconds: float, jobs: int) -> tuple[float, float]:
    """Return the jobs a second of so many workers, and how many processors were busy on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(
            Path(folder) / "run", workers=workers, engine="sleeping", step_seconds=step_seconds, pace=_PACE
        )
        with cluster, ApiClient(cluster.url) as client:
            ids = [str(client.upload(_EXAMPLES / f"{part}.jpg")["id"]) for part in ("content", "style")]
            fields = JobFields({"steps": steps, "size": 64}, reuse=False)

            def submit(_: int) -> None:
                client.submit(*ids, fields)

            began, busy = monotonic(), _busy_seconds()
            with ThreadPoolExecutor(_SUBMITTERS) as pool:
                list(pool.map(submit, range(jobs)))
            wait_until(lambda: cluster.count(final=True) == jobs, seconds=600, what="all jobs end")
            took = monotonic() - began
            return jobs / took, (_busy_seconds() - busy) / took


def _busy_seconds() -> float:
    """Return how many seconds the processors have worked since the machine was started."""
    with Path("/proc/stat").open() as file:
        user, nice, system, _, _, hard, soft, *_ = (int(word) for word in file.readline().split()[1:])
    return (user + nice + system + hard + soft) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

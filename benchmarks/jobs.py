"""Whole jobs through the service against the bare loop of the engine, taking turns, as a Markdown table.

A service is started as `atelier up` does, with one worker. The bare loop is a warm process of its own that
decodes both pictures, takes the steps and fetches the last picture. Each stands still while the other works.
What checkpoints cost is seen beside it: the same job with as many as by default, and one every other step.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import monotonic

import click

from benchmarks.contenders import JOB_STEPS
from benchmarks.engine import Contender, lay_out, spread_of
from benchmarks.machine import children_of, machine_line, processor_seconds
from shared.settings import PREFIX
from shared.status import JobStatus
from tests.support.weights_file import write_weights_file
from web.cli.client import ApiClient
from web.cli.local.host import StopRequest, free_port
from web.cli.local.stack import Stack
from web.cli.output import Output
from web.cli.up import local_settings
from web.cli.views import JobFields, JobView

#: Long side in px → how many jobs of it in all, of each kind.
_SIZES = {256: 2, 48: 3}
#: Long side in px → steps to a checkpoint: by default, and with as many that one is always being written.
_EVERY = {256: (10,), 48: (10, 2)}
#: The processes of a service, and by which words of their command each is known.
_PARTS = {
    "worker": "--name worker-1",
    "light node": "--name drafts",
    "web": " web ",
    "control": " control ",
    "Redis": "-server 127.0.0.1:",
}
_BARE = "bare loop"
_PAIRS = 10
_SHORT = {"size": 48, "steps": 5}


@click.command()
@click.option("--rounds", type=int, help="Jobs of each kind. [default: 2 of 256 px, 3 of 48 px]")
@click.option(
    "--size", type=click.Choice([str(each) for each in _SIZES]), help="Only jobs of this size, in px."
)
def main(rounds: int | None, size: str | None) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as name, StopRequest() as stop_request:
        folder = Path(name)
        weights = write_weights_file(folder / "weights.h5")
        environ = {**os.environ, **{PREFIX + each: "" for each in ("DATABASE_URL", "STORAGE_URL", "URL")}}
        environ[f"{PREFIX}VGG19_WEIGHTS"] = str(weights)
        settings = local_settings(environ, {"DATA_DIR": str(folder / "data"), "PORT": str(free_port())})
        stack = Stack(
            settings,
            environ=environ,
            workers=1,
            own_redis=True,
            output=Output(),
            stop_request=stop_request,
            show_logs=False,
        )
        with stack, ApiClient(settings.local_url) as client:
            stack.wait_for_worker()
            queue = Queue(client, stop_request)
            lines, costs = [], []
            for each, count in _SIZES.items():
                if size not in (None, str(each)):
                    continue
                found, cost = compare(queue, folder, each, rounds or count)
                lines += found
                costs.append(cost)
            lines.append(between(queue, folder))
    words = {"--rounds": rounds, "--size": size}
    command = " ".join(
        ("python -m benchmarks.jobs", *(f"{name} {word}" for name, word in words.items() if word))
    )
    click.echo(f"`{command}`, {machine_line()}\n")
    click.echo(f"| a job of {JOB_STEPS} steps | through the queue | bare loop | ratio (least to greatest) |")
    click.echo("|---|---:|---:|---:|")
    for line in lines:
        click.echo(line)
    click.echo(f"\n| processor, s, {JOB_STEPS} steps | " + " | ".join((*_PARTS, _BARE)) + " |")
    click.echo("|---" + "|---:" * (1 + len(_PARTS)) + "|")
    for line in costs:
        click.echo(line)


@dataclass(frozen=True)
class Queue:
    """The service that jobs are given to; who wants the benchmark to end is heard between its answers."""

    client: ApiClient
    stop_request: StopRequest

    def upload(self, folder: Path) -> Sequence[str]:
        """Upload the pair that is laid out; returns the ids."""
        return [str(self.client.upload(folder / f"{part}.png")["id"]) for part in ("content", "style")]

    def submit(self, ids: Sequence[str], options: dict[str, int]) -> JobView:
        """Submit a job that is to be computed."""
        return self.client.submit(*ids, JobFields(options, reuse=False)).job

    def run(self, ids: Sequence[str], options: dict[str, int]) -> float:
        """Return how many seconds a job takes from its submit until it is told to have succeeded."""
        began = monotonic()
        self.end_of(self.submit(ids, options))
        return monotonic() - began

    def end_of(self, job: JobView) -> JobView:
        """Wait for the end of a job."""
        etag: str | None = None
        while not job.status.is_final:
            self.stop_request.check()
            answer = self.client.job(job.id, etag=etag, wait_seconds=10)
            job, etag = answer.job or job, answer.etag
        if job.status is not JobStatus.SUCCEEDED:
            raise click.ClickException(f"job {job.id} is {job.status.value}: {job.error}")
        return job


def compare(queue: Queue, folder: Path, size: int, rounds: int) -> tuple[list[str], str]:
    """Return the rows of one size, and that of the processor time of its jobs by process."""
    lay_out(folder, size, size * 3 // 4)
    ids = queue.upload(folder)
    bare = Contender([sys.executable, "-m", "benchmarks.contenders", "jobs", str(folder), str(size)])

    def through(every: int) -> float:
        return queue.run(ids, {"size": size, "steps": JOB_STEPS, "checkpoint_every": every})

    queued: dict[int, list[float]] = {every: [] for every in _EVERY[size]}
    alone: list[float] = []
    spent: dict[str, list[float]] = {part: [] for part in (*_PARTS, _BARE)}
    try:
        bare.steps(1)
        queue.run(ids, {**_SHORT, "size": size})
        for number in range(rounds):
            # Every second round backwards, so that nobody always runs behind the same one.
            for every in (0, *_EVERY[size])[:: -1 if number % 2 else 1]:
                before = spent_seconds()
                if every:
                    queued[every].append(through(every))
                else:
                    alone += bare.steps(1)[0]
                if every in (0, _EVERY[size][0]):
                    after = spent_seconds()
                    for part in _PARTS if every else (_BARE,):
                        spent[part].append(after.get(part, 0) - before.get(part, 0))
            click.echo(f"{size} px: {number + 1} of {rounds}", err=True)
    finally:
        bare.close()
    lines = []
    for every, took in queued.items():
        said = spread_of([ours / own for ours, own in zip(took, alone, strict=True)])
        seconds = f"{median(took):.2f} s | {median(alone):.2f} s"
        lines.append(f"| {size} px, a checkpoint every {every} | {seconds} | {said} |")
    cells = " | ".join(f"{median(seconds):.2f}" for seconds in spent.values())
    return lines, f"| {size} px, a checkpoint every {_EVERY[size][0]} | {cells} |"


def spent_seconds() -> dict[str, float]:
    """Return the processor time so far of the processes that this one has started, by what they are."""
    found: dict[str, float] = {}
    marks = {**_PARTS, _BARE: "benchmarks.contenders"}
    waiting = [os.getpid()]
    while waiting:
        pid = waiting.pop()
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            waiting += children_of(pid)
            for part in (part for part, mark in marks.items() if mark in words):
                found[part] = found.get(part, 0) + processor_seconds(pid)
        except OSError:
            continue  # it has just ended
    return found


def between(queue: Queue, folder: Path) -> str:
    """Return the row that says how long a worker does nothing between two jobs that wait for it."""
    lay_out(folder, 48, 36)
    ids = queue.upload(folder)
    queue.run(ids, _SHORT)
    gaps = []
    for _ in range(_PAIRS):
        jobs = [queue.submit(ids, _SHORT) for _ in range(3)]
        ended = [queue.end_of(job) for job in jobs]
        for before, after in pairwise(ended):
            idle = moment(after, "started_at") - moment(before, "completed_at")
            gaps.append(idle.total_seconds() * 1000)
    said = f"{median(gaps):.0f} ms ({min(gaps):.0f} to {max(gaps):.0f})"
    return f"| end of one to start of the next | {said} | | |"


def moment(job: JobView, name: str) -> datetime:
    """Return a time that a job tells."""
    return datetime.fromisoformat(job.document[name])


if __name__ == "__main__":
    main()

"""The response times of pages, lists and search with few and many jobs in one run, as a Markdown table.

The app runs in this process, with a real database and Redis, without network and browser.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path as FilePath
from statistics import quantiles
from time import perf_counter, process_time

import click
from flask.testing import FlaskClient
from sqlalchemy import insert, select

from shared.clock import utc_now
from shared.logs import configure_logs
from shared.options import StyleOptions
from shared.protocol import new_id
from shared.settings import Settings
from shared.status import DEFAULT_PRIORITY, FINAL_STATUSES, JobStatus
from web.api.http import make_token
from web.app import create_app
from web.cli.local.redis_server import RedisServer
from web.db.models import Asset, Job, JobEvent, JobLabel
from web.jobs.lists import JobFilter
from web.jobs.transitions import first_entry
from web.services import Services, services_of

#: The number of jobs of each status among a hundred; those that run are as many as there are workers, however
#: many jobs are stored.
MOST_RUNNING = 10
MIX = {
    JobStatus.SUCCEEDED: 80,
    JobStatus.FAILED: 5,
    JobStatus.CANCELED: 4,
    JobStatus.QUEUED: 10,
    JobStatus.RUNNING: 1,
}
WORDS = ("harbour", "evening", "garden", "bridge", "market", "night", "train", "tower", "river", "snow")
WARM_UP = 5

#: One address, or several that are asked for in turn.
Path = str | Sequence[str]


@dataclass
class Times:
    """The measurements of one address at one number of jobs: wall-clock time and processor time."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    size_bytes: int = 0

    def cells(self) -> list[str]:
        """Return the cells of the table: p50 and p95 of both times in ms."""
        return [f"{cut * 1000:.1f}" for times in (self.seconds, self.cpu_seconds) for cut in _cuts(times)]


@dataclass(frozen=True)
class Filled:
    """A service with so many jobs, and the addresses that are asked for, by what they are."""

    count: int
    client: FlaskClient
    paths: Mapping[str, Path]


@click.command()
@click.option(
    "--jobs",
    "counts",
    multiple=True,
    default=[1_000, 100_000],
    show_default=True,
    help="Jobs in the database; give it several times to compare.",
)
@click.option("--requests", default=100, show_default=True, help="Requests of each kind that are timed.")
def main(counts: tuple[int, ...], requests: int) -> None:
    """Measure, and print the table."""
    with ExitStack() as stack:
        folder = FilePath(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_server = stack.enter_context(RedisServer(folder / "redis"))
        services = []
        for count in counts:
            settings = Settings(
                redis_url=redis_server.url, data_dir=folder / f"data-{count}", log_level="error"
            )
            configure_logs(settings)
            app = create_app(settings)
            stack.callback(services_of(app).close)
            filled = _fill(services_of(app), count)
            client = app.test_client()
            services.append(Filled(count, client, _paths(filled, _half_way(services_of(app), count))))
        rows = {name: _measure(services, name, requests) for name in services[0].paths}
    sizes = [f"{count:,}".replace(",", " ") for count in counts]
    click.echo(
        f"`python -m benchmarks.pages {' '.join(f'--jobs {n}' for n in counts)} --requests {requests}`\n"
    )
    head = [f"{size}: p50" for size in sizes]
    columns = ["ms", *(f"{one} | p95 | processor p50 | p95" for one in head)]
    if len(counts) > 1:
        columns.append("ratio p50 | ratio p95 | processor p50 | p95")
    click.echo(f"| {' | '.join(columns)} | answer |")
    click.echo("|---" + "|---:" * (4 * len(counts) + (4 if len(counts) > 1 else 0) + 1) + "|")
    for name, row in rows.items():
        cells = [cell for times in row for cell in times.cells()]
        if len(row) > 1:
            cells += _ratios(row[0], row[-1])
        click.echo(f"| {name} | {' | '.join(cells)} | {row[-1].size_bytes / 1000:.0f} kB |")


def _cuts(times: Sequence[float]) -> tuple[float, float]:
    cuts = quantiles(times, n=20)
    return cuts[9], cuts[18]


def _ratios(first: Times, last: Times) -> list[str]:
    pairs = ((first.seconds, last.seconds), (first.cpu_seconds, last.cpu_seconds))
    return [
        f"{many / few:.2f}"
        for one, other in pairs
        for few, many in zip(_cuts(one), _cuts(other), strict=True)
    ]


def _needles() -> list[str]:
    """Return parts of words, each in about three names of ten."""
    found = {word[i:j] for word in WORDS for i in range(len(word)) for j in range(i + 3, len(word) + 1)}
    needles = sorted(found)
    random.Random(2).shuffle(needles)  # noqa: S311 - no secrets
    return needles


def _paths(filled: Mapping[JobStatus, str], half_way: str) -> dict[str, Path]:
    """Return the addresses by their names; one that is a list is asked for in turn."""
    done, last_queued = filled[JobStatus.SUCCEEDED], filled[JobStatus.QUEUED]
    return {
        "`/`": "/",
        "`/`, half way down": half_way,
        "`/?status=failed`": "/?status=failed",
        "`/?status=queued`": "/?status=queued",
        "`/?status=` two of them": "/?status=failed&status=succeeded",
        "`/?name=` three in ten": "/?name=HARBOUR",
        "`/?name=` three in ten, always another": [f"/?name={needle}" for needle in _needles()],
        "`/?name=` two characters": "/?name=ur",
        "`/?name=` that nothing has": "/?name=nowhere",
        "`/?name=` two characters that nothing has": "/?name=zq",
        "`/?name=` and `status`": "/?name=harbour&status=failed",
        "`/?label=`": "/?label=series:s7",
        "`/?label=` that all have": "/?label=project:all",
        "`/?label=` and `name`": "/?label=series:s7&name=night",
        "`/jobs/{id}`": f"/jobs/{done}",
        "`/jobs/{id}`, queued": f"/jobs/{last_queued}",
        "`/new`": "/new",
        "`/workers`": "/workers",
        "`/parts/jobs`, as an open gallery asks": "/parts/jobs",
        "`/parts/workers`, as the open page of workers asks": "/parts/workers",
        "GET `/api/v1/jobs`, with counts": "/api/v1/jobs?page_size=24&counts=true",
        "GET `/api/v1/jobs?page_size=200`": "/api/v1/jobs?page_size=200",
        "GET `/api/v1/jobs/{id}`": f"/api/v1/jobs/{done}",
        "GET `/api/v1/jobs/{id}`, queued": f"/api/v1/jobs/{last_queued}",
        "GET `/api/v1/estimate`": "/api/v1/estimate",
    }


def _measure(services: Sequence[Filled], name: str, requests: int) -> list[Times]:
    """Ask every service for an address, in turn, so that all of them are measured under the same load."""
    found = [Times() for _ in services]
    for number in range(requests + WARM_UP):
        for service, times in zip(services, found, strict=True):
            path = service.paths[name]
            path = path if isinstance(path, str) else path[number % len(path)]
            began, began_cpu = perf_counter(), process_time()
            answer = service.client.get(path, headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
            took, took_cpu = perf_counter() - began, process_time() - began_cpu
            if answer.status_code != 200:
                raise click.ClickException(f"{path} answered {answer.status_code}: {answer.text[:300]}")
            if number >= WARM_UP:
                times.seconds.append(took)
                times.cpu_seconds.append(took_cpu)
                times.size_bytes = len(answer.data)
    return found


def _half_way(services: Services, count: int) -> str:
    """Return the address of the page half way down the gallery."""
    with services.backend.database.read() as session:
        middle = session.scalars(select(Job.id).order_by(Job.id.desc()).offset(count // 2).limit(1)).one()
    return f"/?page_token={make_token(middle, JobFilter())}"


def _fill(services: Services, count: int) -> dict[JobStatus, str]:
    """Write `count` jobs, and return the id of the newest of each status."""
    chance, now = random.Random(1), utc_now()  # noqa: S311 - rows, not secrets
    assets = [
        {
            "id": new_id(), "caller": "local", "sha256": f"{number:064x}", "filename": f"{number}.png",
            "content_type": "image/png", "size_bytes": 1, "width": 1200, "height": 800, "created_at": now,
        }
        for number in range(50)
    ]  # fmt: skip
    statuses = chance.choices(list(MIX), weights=list(MIX.values()), k=count)
    running = [number for number, status in enumerate(statuses) if status is JobStatus.RUNNING]
    for number in running[:-MOST_RUNNING]:
        statuses[number] = JobStatus.SUCCEEDED
    jobs, labels, events = [], [], []
    for number, status in enumerate(statuses):
        job_id, created_at = new_id(), now - timedelta(seconds=count - number)
        jobs.append(_job(job_id, status, chance, [asset["id"] for asset in assets], created_at))
        labels.append({"job_id": job_id, "key": "series", "value": f"s{number % 20}"})
        labels.append({"job_id": job_id, "key": "project", "value": "all"})
        entry = first_entry()
        events.append(
            {"job_id": job_id, "sequence": 1, "type": entry.type, "data": entry.data, "created_at": now}
        )
    with services.backend.database.write() as session:
        for table, rows in ((Asset, assets), (Job, jobs), (JobLabel, labels), (JobEvent, events)):
            session.execute(insert(table), rows)
    return {status: str(job["id"]) for status, job in zip(statuses, jobs, strict=True)}


def _job(
    job_id: str, status: JobStatus, chance: random.Random, asset_ids: list[str], created_at: object
) -> dict[str, object]:
    is_done, has_begun = status is JobStatus.SUCCEEDED, status is not JobStatus.QUEUED
    output = {
        "name": "result.png", "key": f"jobs/{job_id}/attempt-1/result-{'ab' * 8}.png", "sha256": "ab" * 32,
        "content_type": "image/png", "size_bytes": 1, "width": 512, "height": 341,
    }  # fmt: skip
    error = {
        "code": "out_of_memory", "title": "The device has not enough memory for this working size.",
        "detail": "d", "retryable": False, "suggestion": "Choose a smaller size.",
    }  # fmt: skip
    return {
        "id": job_id,
        "caller": "local",
        "name": " ".join(chance.sample(WORDS, 3)),
        "status": status.value,
        "version": 3,
        "attempt": 1,
        "max_attempts": 3,
        "priority": DEFAULT_PRIORITY,
        "content_asset_id": chance.choice(asset_ids),
        "style_asset_id": chance.choice(asset_ids),
        "options": StyleOptions().model_dump(),
        "created_at": created_at,
        "queued_at": created_at,
        "dispatched_at": created_at,
        "started_at": created_at if has_begun else None,
        "completed_at": created_at if status in FINAL_STATUSES else None,
        "step": 100 if is_done else 0,
        "outputs": [output] if is_done else [],
        "error": error if status is JobStatus.FAILED else None,
        "metrics": {"run_seconds": 40.0} if is_done else {},
    }


if __name__ == "__main__":
    main()

"""The response times of pages and lists with many jobs, as a Markdown table.

The app runs in this process, with a real database and Redis, without network and browser.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time

import click
from flask.testing import FlaskClient
from sqlalchemy import insert

from shared.clock import utc_now
from shared.logs import configure_logs
from shared.options import StyleOptions
from shared.protocol import new_id
from shared.settings import Settings
from shared.status import FINAL_STATUSES, JobStatus
from web.app import create_app
from web.cli.local.redis_server import RedisServer
from web.db.models import Asset, Job, JobEvent, JobLabel
from web.jobs.transitions import first_entry
from web.services import Services, services_of

#: The number of jobs of each status among a hundred.
MIX = {
    JobStatus.SUCCEEDED: 80,
    JobStatus.FAILED: 5,
    JobStatus.CANCELED: 4,
    JobStatus.QUEUED: 10,
    JobStatus.RUNNING: 1,
}
WORDS = ("harbour", "evening", "garden", "bridge", "market", "night", "train", "tower", "river", "snow")
WARM_UP = 5


@dataclass
class Row:
    """The measurements of one address: wall-clock time and processor time."""

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    size_bytes: int = 0


@click.command()
@click.option("--jobs", "job_count", default=10_000, show_default=True, help="Jobs in the database.")
@click.option("--requests", default=200, show_default=True, help="Requests of each kind that are timed.")
def main(job_count: int, requests: int) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder) / "redis") as redis_server:
        settings = Settings(redis_url=redis_server.url, data_dir=Path(folder) / "data", log_level="error")
        configure_logs(settings)
        app = create_app(settings)
        try:
            job_id = _fill(services_of(app), job_count)
            rows = _measure(app.test_client(), job_id, requests)
        finally:
            services_of(app).close()
    click.echo(f"`python -m benchmarks.pages --jobs {job_count} --requests {requests}`\n")
    click.echo(f"| {job_count} jobs | p50 | p95 | processor | answer |")
    click.echo("|---|---|---|---|---|")
    for row in rows:
        cuts = quantiles(row.seconds, n=20)
        middle, high, busy = cuts[9] * 1000, cuts[18] * 1000, median(row.cpu_seconds) * 1000
        size = f"{row.size_bytes / 1000:.0f} kB"
        click.echo(f"| {row.name} | {middle:.1f} ms | {high:.1f} ms | {busy:.1f} ms | {size} |")


def _measure(client: FlaskClient, job_id: str, requests: int) -> list[Row]:
    half_way = _half_way(client)
    paths = {
        "`/`": "/",
        "`/`, half way down": half_way,
        "`/?status=failed`": "/?status=failed",
        "`/?status=queued`": "/?status=queued",
        "`/?name=` one in ten": "/?name=HARBOUR",
        "`/?name=` that nothing has": "/?name=nowhere",
        "`/?label=`": "/?label=series:s7",
        "`/?label=` and `name`": "/?label=series:s7&name=night",
        "`/jobs/{id}`": f"/jobs/{job_id}",
        "`/new`": "/new",
        "`/workers`": "/workers",
        "`/parts/jobs`, as an open gallery asks": "/parts/jobs",
        "`/parts/workers`, as the open page of workers asks": "/parts/workers",
        "GET `/api/v1/jobs`, with counts": "/api/v1/jobs?page_size=24&counts=true",
        "GET `/api/v1/jobs?page_size=200`": "/api/v1/jobs?page_size=200",
        "GET `/api/v1/jobs/{id}`": f"/api/v1/jobs/{job_id}",
    }
    rows = []
    for name, path in paths.items():
        row = Row(name)
        for number in range(requests + WARM_UP):
            began, began_cpu = perf_counter(), process_time()
            answer = client.get(path, headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
            took, took_cpu = perf_counter() - began, process_time() - began_cpu
            if answer.status_code != 200:
                raise click.ClickException(f"{path} answered {answer.status_code}: {answer.text[:300]}")
            if number >= WARM_UP:
                row.seconds.append(took)
                row.cpu_seconds.append(took_cpu)
                row.size_bytes = len(answer.data)
        rows.append(row)
    return rows


def _half_way(client: FlaskClient) -> str:
    """Return the address of the page half way down the gallery, by following the page tokens."""
    total = sum(client.get("/api/v1/jobs?page_size=1&counts=true").json["counts"].values())
    token, seen = None, 0
    while seen < total // 2:
        page = client.get(
            "/api/v1/jobs", query_string={"page_size": 200, **({"page_token": token} if token else {})}
        )
        token, seen = page.json["next_page_token"], seen + 200
    return f"/?page_token={token}"


def _fill(services: Services, count: int) -> str:
    """Write `count` jobs, and return the id of one that succeeded."""
    chance, now = random.Random(1), utc_now()  # noqa: S311 - rows, not secrets
    assets = [
        {
            "id": new_id(), "caller": "local", "sha256": f"{number:064x}", "filename": f"{number}.png",
            "content_type": "image/png", "size_bytes": 1, "width": 1200, "height": 800, "created_at": now,
        }
        for number in range(50)
    ]  # fmt: skip
    statuses = chance.choices(list(MIX), weights=list(MIX.values()), k=count)
    jobs, labels, events = [], [], []
    for number, status in enumerate(statuses):
        job_id, created_at = new_id(), now - timedelta(seconds=count - number)
        jobs.append(_job(job_id, status, chance, [asset["id"] for asset in assets], created_at))
        labels.append({"job_id": job_id, "key": "series", "value": f"s{number % 100}"})
        entry = first_entry()
        events.append(
            {"job_id": job_id, "sequence": 1, "type": entry.type, "data": entry.data, "created_at": now}
        )
    with services.backend.database.write() as session:
        for table, rows in ((Asset, assets), (Job, jobs), (JobLabel, labels), (JobEvent, events)):
            session.execute(insert(table), rows)
    return next(str(job["id"]) for job in reversed(jobs) if job["status"] == JobStatus.SUCCEEDED.value)


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
        "priority": 0,
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

"""The rate at which control applies reports, one by one and in groups, as a Markdown table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import click

from shared.clock import utc_now
from shared.logs import configure_logs
from shared.options import StyleOptions
from shared.picture import PictureFacts
from shared.protocol import EventType, ResultMarker, WorkerEvent
from shared.settings import Settings
from shared.storage.layout import marker_key, result_picture_key
from shared.storage.store import ArtifactStore
from web.assets.uploads import Picture, add_asset
from web.backend import Backend
from web.cli.local.redis_server import RedisServer
from web.control.projector import Projector
from web.db.database import Database
from web.jobs.queries import add_job

STEPS = (5, 8)
LOSSES = {"total": 1.0, "content": 0.5, "style": 0.5}
WEIGHTS = {"name": "untrained", "sha256": None, "notice": None}
REPORTS_A_JOB = 2 + len(STEPS)


@click.command()
@click.option("--jobs", default=500, show_default=True, help="Jobs of each way, with four reports each.")
def main(jobs: int) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder) / "redis") as redis_server:
        settings = Settings(redis_url=redis_server.url, data_dir=Path(folder) / "data", log_level="error")
        configure_logs(settings)
        backend = Backend.open(settings)
        database, stream = backend.database, backend.redis.stream
        projector = Projector(backend, clock=utc_now)
        single, piled = list(_reports(database, jobs)), list(_reports(database, jobs))
        _write_results(backend.storage, [*single, *piled])
        for report in piled:
            stream.report(report)
        rows = [
            _time("one by one", lambda: [projector.apply(report) for report in single]),
            _time("piled up in the stream", projector.drain),
        ]
        backend.close()
    count = jobs * REPORTS_A_JOB
    click.echo(f"`python -m benchmarks.projector --jobs {jobs}`\n")
    click.echo(f"| {count} reports | a second | processor, each | ratio |")
    click.echo("|---|---:|---:|---:|")
    for name, seconds, cpu_seconds in rows:
        ratio = rows[0][1] / seconds
        click.echo(f"| {name} | {count / seconds:.0f} | {cpu_seconds / count * 1000:.2f} ms | {ratio:.1f} |")


def _time(name: str, work: Callable[[], object]) -> tuple[str, float, float]:
    began, began_cpu = perf_counter(), process_time()
    work()
    return name, perf_counter() - began, process_time() - began_cpu


def _reports(database: Database, jobs: int) -> Iterator[WorkerEvent]:
    """Yield the reports of sixty workers about new jobs: claimed, two checkpoints, succeeded."""
    now = utc_now()
    with database.write() as session:
        facts = PictureFacts("image/png", 64, 48)
        asset, _ = add_asset(session, Picture("0" * 64, 1, "a.png", facts), caller="local", now=now)
        options = StyleOptions(steps=STEPS[-1], size=48)
        ids = [
            add_job(
                session, caller="local", name="a job", content=asset, style=asset, options=options, labels={},
                max_attempts=3, now=now,
            ).id
            for _ in range(jobs)
        ]  # fmt: skip
    for start in range(0, len(ids), 60):
        for number in range(REPORTS_A_JOB):
            for job_id in ids[start : start + 60]:
                yield _report(job_id, number)


def _report(job_id: str, number: int) -> WorkerEvent:
    worker = {"weights": WEIGHTS, "engine_version": "1"}
    if number == 0:
        kind = EventType.CLAIMED
        data = {"worker_id": "node", "device": "cpu", "resumed_from_step": None, **worker}
    elif number <= len(STEPS):
        kind, step = EventType.CHECKPOINTED, STEPS[number - 1]
        curve = [[float(at), 1.0, 0.5, 0.5] for at in range(step - 4, step + 1)]
        files = {"key": "checkpoint", "picture_key": "picture", "sha256": "0" * 64}
        data = {"step": step, "steps": STEPS[-1], "losses": LOSSES, "curve": curve, **files}
    else:
        kind = EventType.SUCCEEDED
        measured = {"run_seconds": 1.0, "gpu_peak_bytes": None}
        data = {"step": STEPS[-1], "losses": LOSSES, "outputs": [_output(job_id)], **measured, **worker}
    event_id = f"{job_id}:1:{number}"
    return WorkerEvent(event_id=event_id, type=kind, job_id=job_id, attempt=1, at=utc_now(), data=data)


def _output(job_id: str) -> dict[str, Any]:
    key = result_picture_key(job_id, 1, "0" * 64)
    facts = {"name": "result.png", "content_type": "image/png", "width": 1, "height": 1}
    return {**facts, "key": key, "size_bytes": 1, "sha256": "0" * 64}


def _write_results(store: ArtifactStore, reports: Iterable[WorkerEvent]) -> None:
    """Write what control looks for before it believes a report of success; that is not measured."""
    for report in reports:
        if report.type is EventType.SUCCEEDED:
            facts = {"job_id": report.job_id, "attempt": 1, "completed_at": report.at}
            marker = ResultMarker.model_validate({**report.data, **facts})
            store.write_volatile(marker.outputs[0].key, b"1")
            store.write_volatile(marker_key(report.job_id, 1), marker.model_dump_json().encode())


if __name__ == "__main__":
    main()

"""The share of a core that control takes while very many jobs wait, as a Markdown table.

Twice in one run: with the window, and with all that is queued in the broker and read through at every look
for lost messages, as it was before there was a window.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic, process_time

import click

from shared.clock import utc_now
from shared.logs import configure_logs
from shared.picture import PictureFacts
from shared.settings import Settings
from shared.status import JobStatus
from tests.support.many_jobs import add_rows, job_row
from web.assets.uploads import Picture, add_asset
from web.cli.local.redis_server import RedisServer
from web.control.messages import message_for
from web.control.process import Control
from web.jobs.queries import get_jobs
from web.jobs.queue import QueuedAttempt, dispatched_before, mark_dispatched

_AT_ONCE = 1000


@click.command()
@click.option("--jobs", default=25_000, show_default=True, help="Jobs that wait.")
@click.option("--seconds", default=30.0, show_default=True, help="How long each way is measured.")
def main(jobs: int, seconds: float) -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder) / "redis") as redis_server:
        settings = Settings(redis_url=redis_server.url, data_dir=Path(folder) / "data", log_level="error")
        configure_logs(settings)
        control = Control(settings)
        ids = _add_jobs(control, jobs)
        for _ in range(20):
            control.round()  # what is compiled and connected at first is not measured
        window = _share(control, seconds, lambda: None)
        in_window = len(control._dispatch.look().entries)
        _send_all(control, ids)
        control._lost.hold(float("inf"))
        whole = _share(control, seconds, lambda: _look_through_all(control))
        control.close()
    click.echo(f"`python -m benchmarks.queue_window --jobs {jobs} --seconds {seconds:g}`\n")
    click.echo(f"| {jobs} jobs wait | in the broker | of a core |")
    click.echo("|---|---:|---:|")
    click.echo(f"| all of them sent, and read every 3 s | {jobs} | {whole:.1%} |")
    click.echo(f"| a window | {in_window} | {window:.1%} |")


def _share(control: Control, seconds: float, look: Callable[[], None]) -> float:
    """Return the share of a core that rounds take; `look` is what is done every 3 s beside them."""
    began, began_cpu, looks_at = monotonic(), process_time(), monotonic()
    while monotonic() - began < seconds:
        control.round()
        if monotonic() >= looks_at:
            looks_at += control.backend.settings.rescue_seconds
            look()
    return (process_time() - began_cpu) / (monotonic() - began)


def _look_through_all(control: Control) -> None:
    """Do what the look for lost messages did: read and parse every entry, and compare it with every row."""
    now, redis = utc_now(), control.backend.redis
    with control.backend.database.read() as session:
        sent = dispatched_before(session, now - timedelta(seconds=5), now=now)
    texts = [
        text for name in redis.names.queue_lists("any") for text in list(redis.client.lrange(name, 0, -1))
    ]
    waiting = {json.loads(text)["headers"]["id"] for text in texts}
    if [attempt for attempt in sent if attempt.message_id not in waiting]:
        raise RuntimeError("the messages that were sent are not all in the broker")


def _send_all(control: Control, ids: list[str]) -> None:
    for start in range(0, len(ids), _AT_ONCE):
        with control.backend.database.read() as session:
            jobs = [
                job
                for job in get_jobs(session, ids[start : start + _AT_ONCE]).values()
                if job.dispatched_at is None
            ]
        control._dispatch.send([message_for(job) for job in jobs])
        with control.backend.database.write() as session:
            moment = utc_now() - timedelta(seconds=60)
            mark_dispatched(session, [QueuedAttempt.of(job) for job in jobs], moment)


def _add_jobs(control: Control, count: int) -> list[str]:
    with control.backend.database.write() as session:
        picture = Picture("0" * 64, 1, "a.png", PictureFacts("image/png", 64, 48))
        asset, _ = add_asset(session, picture, caller="local", now=utc_now())
        queued = {"name": "a job", "status": JobStatus.QUEUED}
        return add_rows(session, [job_row(asset, number, **queued) for number in range(count)])


if __name__ == "__main__":
    main()

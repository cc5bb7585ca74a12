"""How long a draft takes from its submit to its picture, beside a running job, as a Markdown table.

A whole service is started as `atelier up` does, with one worker and the light one. Drafts are sent one after
the other, each with pictures that the service has, as the page does; first beside an idle service, then
beside a job of 500 steps.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import click

from shared.settings import PREFIX
from shared.status import JobKind, JobStatus
from web.cli.client import ApiClient
from web.cli.local.host import StopRequest, free_port
from web.cli.local.stack import Stack
from web.cli.output import Output
from web.cli.up import local_settings
from web.cli.views import JobFields

EXAMPLES = Path(__file__).parents[1] / "examples"
_LONG = {"steps": 500, "size": 512}


@click.command()
@click.option("--drafts", "count", default=30, show_default=True, help="Drafts in each row.")
@click.option("--size", default=512, show_default=True, help="Long side of each, in px.")
def main(count: int, size: int) -> None:
    """Measure, and print the table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        local_stack(folder, workers=1) as stack,
        ApiClient(stack.settings.local_url) as client,
    ):
        stack.wait_for_worker()
        ids = [str(client.upload(EXAMPLES / f"{part}.png")["id"]) for part in ("content", "style")]
        rows = [("nothing else", draft_seconds(client, ids, count, size))]
        job = client.submit(*ids, JobFields(_LONG, reuse=False)).job
        while (seen := client.job(job.id).job) is None or seen.status is not JobStatus.RUNNING:
            sleep(0.2)
        rows.append(("a job of 500 steps, 512 px", draft_seconds(client, ids, count, size)))
        client.ask(job.id, "cancel")
    click.echo("| beside | drafts | median (s) | worst (s) |\n|---|---|---|---|")
    for beside, seconds in rows:
        click.echo(f"| {beside} | {len(seconds)} | {median(seconds):.2f} | {max(seconds):.2f} |")


@contextmanager
def local_stack(folder: str, *, workers: int) -> Iterator[Stack]:
    """Start a whole service of its own in a folder, with untrained weights, and end it afterwards."""
    environ = {**os.environ, **{PREFIX + name: "" for name in ("DATABASE_URL", "STORAGE_URL", "URL")}}
    environ[f"{PREFIX}VGG19_WEIGHTS"] = "untrained"
    with StopRequest() as stop_request:
        stack = Stack(
            local_settings(environ, {"DATA_DIR": folder, "PORT": str(free_port())}),
            environ=environ,
            workers=workers,
            own_redis=True,
            output=Output(),
            stop_request=stop_request,
            show_logs=False,
        )
        with stack:
            yield stack


def draft_seconds(client: ApiClient, ids: Sequence[str], count: int, size: int) -> list[float]:
    """Return how long each of so many drafts took, from before its submit until its picture was there."""
    took = []
    for _ in range(count):
        started = monotonic()
        fields = JobFields({"size": size}, reuse=False, kind=JobKind.DRAFT)
        job = client.submit(*ids, fields, wait_seconds=20).job
        if job.status is not JobStatus.SUCCEEDED:
            raise SystemExit(f"draft {job.id} is {job.status.value}: {job.error}")
        bytes_read = sum(len(data) for data in client.download(job.outputs[0].url))
        took.append(monotonic() - started)
        if bytes_read != job.outputs[0].size_bytes:
            raise SystemExit(f"draft {job.id} has {bytes_read} bytes")
    return took


if __name__ == "__main__":
    main()

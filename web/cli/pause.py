"""`atelier pause`: set a job's worker free, and keep what it has done."""

from __future__ import annotations

import click

from web.cli.arguments import json_option, open_client, url_option
from web.cli.output import Output


@click.command
@click.argument("job_id", metavar="ID")
@url_option
@json_option
@click.pass_obj
def command(output: Output, job_id: str, *, url: str | None) -> None:
    """Pause the job ID. A queued one is paused at once, a running one when it has saved a checkpoint."""
    with open_client(url) as client:
        job = client.ask(job_id, "pause")
    paused = "pausing: its worker saves a checkpoint after this step" if job.is_pausing else None
    output.answer(job.document, paused or f"paused at step {job.step} of {job.steps}")

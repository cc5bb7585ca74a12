"""`atelier resume`: let a paused job go on."""

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
    """Let the paused job ID go on from its checkpoint, on whichever worker is free."""
    with open_client(url) as client:
        job = client.ask(job_id, "resume")
    output.answer(job.document, f"{job.status.value}: goes on from step {job.step} of {job.steps}")

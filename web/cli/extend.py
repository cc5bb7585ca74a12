"""`atelier extend`: let a succeeded job make more steps."""

from __future__ import annotations

import click

from web.cli.arguments import json_option, open_client, url_option
from web.cli.output import Output


@click.command
@click.argument("job_id", metavar="ID")
@click.argument("steps", type=click.IntRange(min=1))
@url_option
@json_option
@click.pass_obj
def command(output: Output, job_id: str, steps: int, *, url: str | None) -> None:
    """Let the succeeded job ID make STEPS more steps from where it ended.

    Its picture can be downloaded meanwhile, and is replaced when the job succeeds again.
    """
    with open_client(url) as client:
        job = client.ask(job_id, "extend", {"steps": steps})
    output.answer(job.document, f"{job.status.value}: {steps} more from step {job.step}, {job.steps} in all")

"""`atelier cancel`: ask for a job to be canceled."""

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
    """Cancel the job ID. A queued one is canceled at once, a running one at its next step."""
    with open_client(url) as client:
        job = client.ask(job_id, "cancel")
    output.answer(job.document, job.status.value)

"""`atelier delete`: remove a job that has ended."""

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
    """Remove the job ID, which must have ended: its record, its history and its files.

    Jobs that were forked from it stay.
    """
    with open_client(url) as client:
        client.delete(job_id)
    output.answer({"job_id": job_id, "deleted": True}, "deleted")

"""`atelier watch`: follow a job until it ends."""

from __future__ import annotations

import click

from web.cli.arguments import json_option, open_client, timeout_option, url_option
from web.cli.exits import exit_code_for
from web.cli.follow import follow_job, report_end
from web.cli.output import Output


@click.command
@click.argument("job_id", metavar="ID")
@timeout_option
@url_option
@json_option
@click.pass_obj
@click.pass_context
def command(ctx: click.Context, output: Output, job_id: str, *, timeout: float, url: str | None) -> None:
    """Follow the job ID with a bar until it ends.

    Ends as the job does: exit code 0 when it succeeded, 1 when it failed or expired, 3 when it was canceled.
    """
    with open_client(url) as client:
        job = follow_job(client, job_id, output=output, timeout_seconds=timeout)
    report_end(job, output)
    output.answer(job.document, job.status.value)
    ctx.exit(exit_code_for(job.status))

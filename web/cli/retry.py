"""`atelier retry`: try a job again that failed, expired or was canceled."""

from __future__ import annotations

import click

from web.cli.arguments import json_option, open_client, url_option
from web.cli.output import Output


@click.command
@click.argument("job_id", metavar="ID")
@click.option("--from-zero", is_flag=True, help="Use none of its checkpoints.")
@url_option
@json_option
@click.pass_obj
def command(output: Output, job_id: str, *, from_zero: bool, url: str | None) -> None:
    """Try the job ID again, from its last checkpoint unless --from-zero is given."""
    with open_client(url) as client:
        job = client.ask(job_id, "retry", {"from": "zero" if from_zero else "checkpoint"})
    start = f"step {job.step} of {job.steps}"
    output.answer(job.document, f"{job.status.value}: attempt {job.attempt}, from {start}")

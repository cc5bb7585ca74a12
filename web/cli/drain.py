"""`atelier drain`: let a worker hand its job back and end."""

from __future__ import annotations

import click

from web.cli.arguments import json_option, open_client, url_option
from web.cli.output import Output


@click.command
@click.argument("worker_id", metavar="WORKER_ID")
@url_option
@json_option
@click.pass_obj
def command(output: Output, worker_id: str, *, url: str | None) -> None:
    """Let the worker WORKER_ID save a checkpoint, hand its job back and end.

    Another worker goes on with the job. The drained one stays down until somebody starts it;
    'atelier workers' lists it until it has ended.
    """
    with open_client(url) as client:
        worker = client.drain(worker_id)
    output.answer(worker, str(worker["state"]))

"""`atelier download`: fetch a job's final picture."""

from __future__ import annotations

from pathlib import Path

import click

from web.cli.arguments import json_option, open_client, url_option
from web.cli.output import Output
from web.cli.picture_file import save_picture


@click.command
@click.argument("job_id", metavar="ID")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="File or folder to save to. [default: <ID>.png here]"
)
@url_option
@json_option
@click.pass_obj
def command(output: Output, job_id: str, *, out: Path | None, url: str | None) -> None:
    """Download the final picture of the job ID and check it against the hash that the job names.

    A file that is already there is replaced, but only by the whole picture.
    """
    with open_client(url) as client:
        job = client.job(job_id).job
        if job is not None:
            path = save_picture(client, job, out)
            output.answer({"job_id": job.id, "path": str(path), "sha256": job.outputs[0].sha256}, str(path))

"""`atelier fork`: begin a new job with a checkpoint of another one."""

from __future__ import annotations

import click

from shared.options import parse_assignments
from web.cli.arguments import LabelType, json_option, open_client, url_option
from web.cli.output import Output
from web.cli.style_options import StyleCommand, style_option


@click.command(cls=StyleCommand)
@click.argument("job_id", metavar="ID")
@click.argument("step", type=click.IntRange(min=1))
@style_option
@click.option("--name", help="What to call the new job.  [default: as its parent]")
@click.option(
    "--label",
    "labels",
    type=LabelType(),
    multiple=True,
    help="Attach a label; repeatable.  [default: those of its parent]",
)
@url_option
@json_option
@click.pass_obj
def command(
    output: Output,
    job_id: str,
    step: int,
    *,
    assignments: tuple[str, ...],
    name: str | None,
    labels: tuple[tuple[str, str], ...],
    url: str | None,
) -> None:
    """Begin a new job with the checkpoint that the job ID keeps of STEP, and print the new job's id.

    Style options that are not given are those of the job ID, which is not changed. `size` cannot be another
    one, and `steps` must be more than STEP.

    Example: atelier fork ID 50 -O style_weight=0.1
    """
    body: dict[str, object] = {"step": step, "options": parse_assignments(assignments)}
    if name is not None:
        body["name"] = name
    if labels:
        body["labels"] = dict(labels)
    with open_client(url) as client:
        job = client.ask(job_id, "fork", body)
    output.say(f"Forked from step {step}; follow it with 'atelier watch {job.id}'.")
    output.answer(job.document, job.id)

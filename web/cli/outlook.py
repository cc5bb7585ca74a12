"""What the service expects and remembers: `estimate`, `ready`, and the attempts and events of a job."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from shared.options import parse_assignments
from shared.terminal import WholeNumber
from web.cli.options import (
    given_priority,
    job_argument,
    json_option,
    open_client,
    priority_option,
    style_option,
    url_option,
)
from web.cli.output import ExitCode, Output
from web.cli.views import Event

#: What an estimate depends on.
_OPTIONS = ("method", "preset", "steps", "size", "init")
_SIZE = re.compile(r"([0-9]{1,7})[x×]([0-9]{1,7})")


class SizeType(click.ParamType[tuple[int, int]]):
    """Width and height in pixels, ``WIDTHxHEIGHT``."""

    name = "WIDTHxHEIGHT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return the pair in a word; fail for any other word."""
        if isinstance(value, tuple):
            return value
        found = _SIZE.fullmatch(str(value))
        if found is None:
            self.fail(f"'{value}' is not of the form WIDTHxHEIGHT, such as 1600x1200", param, ctx)
        return int(found[1]), int(found[2])


@click.command
@style_option
@click.option("--content", type=SizeType(), help="Size of the content picture.  [default: of the shape 4:3]")
@click.option("--style", type=SizeType(), help="Size of the style picture.  [default: of the shape 4:3]")
@priority_option
@url_option
@json_option
@click.pass_obj
def estimate(
    output: Output,
    *,
    assignments: tuple[str, ...],
    content: tuple[int, int] | None,
    style: tuple[int, int] | None,
    priority: int | None,
    url: str | None,
) -> None:
    """Tell how long a job is likely to take, and to wait, without any pictures.

    Of the style options it takes method, preset, steps, size and init. 'atelier submit --dry-run' tells the
    same of two pictures, and checks them.

    Example: atelier estimate -O steps=200 --content 1600x1200
    """
    query: dict[str, object] = dict(parse_assignments(assignments))
    others = sorted(query.keys() - set(_OPTIONS))
    query |= given_priority(priority)
    if others:
        raise click.UsageError(f"{others[0]} changes no estimate; those that do are {', '.join(_OPTIONS)}")
    for part, size in (("content", content), ("style", style)):
        if size is not None:
            query |= {f"{part}_width": size[0], f"{part}_height": size[1]}
    with open_client(url) as client:
        document = client.estimate(query)
    message = (document.get("queue") or {}).get("message")
    output.answer(document, str(document["message"]))
    if message:
        output.say(str(message), style="yellow")


@click.command
@url_option
@json_option
@click.pass_obj
@click.pass_context
def ready(ctx: click.Context, output: Output, *, url: str | None) -> None:
    """Tell whether each part of the service works; exit code 1 if it takes in no jobs."""
    with open_client(url) as client:
        document = client.readiness()
    rows = [
        f"{name:<10} {'ok' if check['ok'] else check.get('detail') or 'failed'}"
        for name, check in (document.get("checks") or {}).items()
    ]
    output.answer(document, "\n".join(rows))
    ctx.exit(ExitCode.OK if document.get("ready") else ExitCode.FAILED)


@click.command
@job_argument
@url_option
@json_option
@click.pass_obj
def attempts(output: Output, job_id: str, *, url: str | None) -> None:
    """List the attempts of the job ID: who carried it out, from which step on, and how each ended."""
    with open_client(url) as client:
        document = client.about(client.find_job(job_id), "attempts")
    output.answer(document, "\n".join(_line(item) for item in document["attempts"]))
    if not document["attempts"]:
        output.say("No worker has begun it.")


@click.command
@job_argument
@click.option(
    "--after",
    type=WholeNumber(min=0),
    default=0,
    show_default=True,
    help="Only those after the event of this number.",
)
@url_option
@json_option
@click.pass_obj
def events(output: Output, job_id: str, *, after: int, url: str | None) -> None:
    """Tell what has become of the job ID, and what does, one event a line, until it ends.

    Kept events have a number; progress and previews come between them while the job runs. With --json all of
    them are one document, written at the end.
    """
    told: list[Event] = []
    is_over = False
    with open_client(url) as client:
        job_id = client.find_job(job_id)
        while not is_over:
            for event in client.events(job_id, after):
                after = event.number or after
                is_over |= event.is_last
                told.append(event)
                if not output.as_json:
                    data = {name: value for name, value in event.data.items() if name != "job"}
                    click.echo(f"{event.number or '':>6} {event.kind:<10} {json.dumps(data)}")
            if not is_over:
                # The stream ends after minutes, too, and there is none of a job that has ended before.
                job = client.job(job_id).job
                is_over = job is not None and job.status.is_final and job.version <= after
    if output.as_json:
        output.answer({"events": [event.to_json() for event in told]}, "")


def _line(item: dict[str, Any]) -> str:
    step = item.get("resumed_from_step")
    start = f"from step {step}" if step else "from the start"
    ended = f"{item['outcome'] or 'ended'} {item['ended_at']}" if item.get("ended_at") else "goes on"
    moved = "; not exact: begun on another kind" if item.get("exact") is False else ""
    who = f"{item['worker_id']} ({item['device']})"
    return f"{item['number']:>4}  {who}  {item['started_at']} {start}, {ended}{moved}"

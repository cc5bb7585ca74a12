"""`atelier submit`: submit a job once, whatever the connection does; follow it, fetch its picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from shared.memory import gigabytes
from shared.options import Method, parse_assignments, parse_options
from shared.status import JobStatus
from web.cli.client import Picture
from web.cli.handing_in import hand_in, key_option, see_through, wait_options, was_given
from web.cli.options import (
    PictureType,
    StyleCommand,
    given_priority,
    given_timeouts,
    given_webhook,
    json_option,
    label_option,
    open_client,
    priority_option,
    style_option,
    timeouts_options,
    url_option,
    webhook_options,
)
from web.cli.output import Output
from web.cli.views import JobFields


@click.command(cls=StyleCommand)
@click.argument("content", type=PictureType())
@click.argument("style", type=PictureType())
@style_option
@click.option(
    "--method",
    type=click.Choice([method.value for method in Method]),
    help="How the picture is made: -O method=… in short.  [default: gatys]",
)
@click.option("--name", help="What to call the job.")
@label_option("Attach a label; repeatable.")
@priority_option
@timeouts_options
@webhook_options
@click.option(
    "--reuse/--no-reuse",
    default=True,
    help="Whether the result of an earlier or running job with the same pictures and options will do.  "
    "[default: reuse]",
)
@key_option
@click.option(
    "--dry-run", is_flag=True, help="Submit nothing; say what would be done, and how long it takes."
)
@wait_options
@url_option
@json_option
@click.pass_obj
@click.pass_context
def submit(
    ctx: click.Context,
    output: Output,
    content: Picture,
    style: Picture,
    *,
    assignments: tuple[str, ...],
    method: str | None,
    name: str | None,
    labels: dict[str, str],
    priority: int | None,
    queue_timeout: float | None,
    run_timeout: float | None,
    webhook: str | None,
    events: tuple[str, ...],
    reuse: bool,
    idempotency_key: str,
    dry_run: bool,
    wait: bool,
    out: Path | None,
    timeout: float,
    url: str | None,
) -> None:
    """Submit the picture CONTENT to be redrawn in the style of the picture STYLE.

    Prints the new job's id. If the connection is lost meanwhile, it is asked again, and there is one job all
    the same. With --wait it shows a bar and ends as the job does: exit code 0 when it
    succeeded, 1 when it failed or expired, 3 when it was canceled.

    A picture that was uploaded before ('atelier asset upload FILE') is written asset:ID.

    Example: atelier submit photo.jpg painting.jpg -O steps=200 -o result.png

    In a second: atelier submit photo.jpg painting.jpg --method fast -o result.png
    """
    if dry_run and (wait or out or was_given(ctx, "idempotency_key") or was_given(ctx, "timeout")):
        raise click.UsageError(
            "--dry-run submits nothing: there is nothing to wait for, to save, or to do once only; it goes "
            "without --wait, -o, --timeout and --idempotency-key"
        )
    given = () if method is None else (f"method={method}",)
    options = parse_assignments((*assignments, *given))
    parse_options(options)  # refuses at once what the service would refuse; only what was given is sent
    timeouts = given_timeouts(queue_timeout, run_timeout)
    more = given_priority(priority) | given_webhook(webhook, events)
    fields = JobFields(options, name, labels, timeouts, reuse, more=more)
    with open_client(url) as client:
        if dry_run:
            document = client.validate(content, style, fields)
            output.answer(document, "\n".join(_lines(document)))
            return
        send = partial(client.submit, content, style, fields, idempotency_key=idempotency_key)
        submitted = hand_in(send, output=output, timeout_seconds=timeout)
        job = submitted.job
        if not submitted.is_replay and job.leader_id and job.status is JobStatus.SUCCEEDED:
            output.say(f"Job {job.id} was given the result of job {job.leader_id}, which did the same work.")
        output.say(f"Its page: {client.page(job.id)}")
        if wait or out:
            see_through(ctx, client, job, output=output, out=out, timeout_seconds=timeout)
        else:
            output.answer(job.document, job.id)


def _lines(found: dict[str, Any]) -> list[str]:
    sizes = found.get("working_size") or {}
    rows = [
        (f"{part}", f"{size['width']} × {size['height']} px")
        for part in ("content", "style")
        if (size := sizes.get(part))
    ]
    rows += [
        (name, f"{value:g}" if isinstance(value, float) else value)
        for name, value in found["options"].items()
    ]
    memory = found.get("memory") or {}
    if (needed := memory.get("needed_bytes")) is not None:
        there = memory.get("available_bytes")
        of = "" if there is None else f" of the {gigabytes(there)} that a worker has for it"
        rows.append(("memory", f"about {gigabytes(needed)}{of}"))
    message = (found.get("estimate") or {}).get("message")
    rows += [("estimate", message)] if message else []
    return [f"{label:<16} {value}" for label, value in rows]

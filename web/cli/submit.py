"""`atelier submit`: submit a job once, whatever the connection does; follow it, fetch its picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from uuid import uuid4

import click

from shared.options import parse_assignments, parse_options
from shared.status import JobStatus
from shared.terminal import format_seconds, show_notice
from web.cli.client import Submitted
from web.cli.follow import follow_job, report_end, save_picture
from web.cli.options import (
    LabelType,
    StyleCommand,
    json_option,
    open_client,
    style_option,
    timeout_option,
    url_option,
)
from web.cli.output import ConnectionLost, Output, ServiceProblem, ServiceUnreachable, exit_code_for
from web.jobs.fields import MAX_TIMEOUT_SECONDS

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_PICTURE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_SECONDS = click.FloatRange(min=0, min_open=True, max=MAX_TIMEOUT_SECONDS)


def hand_in(submit: Callable[[], Submitted], *, output: Output, timeout_seconds: float) -> Submitted:
    """Return what `submit` makes; it sends the same Idempotency-Key whenever it is called.

    When the connection is lost before the answer came, nobody knows whether there is a job. Then it is asked
    again, for up to `timeout_seconds`, while the service is away or ill; the key sees to it that there is one
    job. A service that cannot be reached in the first place is not waited for.

    Raises:
        ServiceUnreachable: when the service is not there, or does not come back.
        ServiceProblem: when it refuses.
    """
    try:
        return submit()
    except ConnectionLost as error:
        if not timeout_seconds:
            raise
        show_notice(
            output.err,
            f"{error.detail.rstrip('.')}. Asking again for up to {format_seconds(timeout_seconds)}, with the "
            "same Idempotency-Key: whether the first request arrived or not, there will be one job.",
        )
    return _ask_again(submit, timeout_seconds=timeout_seconds)


def _ask_again(submit: Callable[[], Submitted], *, timeout_seconds: float) -> Submitted:
    since, pause = monotonic(), _FIRST_PAUSE_SECONDS
    while True:
        sleep(pause)
        try:
            return submit()
        except (ServiceUnreachable, ServiceProblem) as error:
            if not _may_pass(error) or monotonic() - since + pause > timeout_seconds:
                raise
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _may_pass(error: ServiceUnreachable | ServiceProblem) -> bool:
    """Whether asking again may help: the service is away or ill, or still busy with the first request."""
    if isinstance(error, ServiceUnreachable):
        return True
    return error.status >= 500 or error.problem_code == "idempotency_key_in_use"


@click.command(cls=StyleCommand)
@click.argument("content", type=_PICTURE)
@click.argument("style", type=_PICTURE)
@style_option
@click.option("--name", help="What to call the job.")
@click.option("--label", "labels", type=LabelType(), multiple=True, help="Attach a label; repeatable.")
@click.option(
    "--queue-timeout",
    type=_SECONDS,
    metavar="SECONDS",
    help="Let the job expire if it has not started by then.",
)
@click.option(
    "--run-timeout", type=_SECONDS, metavar="SECONDS", help="Let the job fail if an attempt runs for longer."
)
@click.option(
    "--reuse/--no-reuse",
    default=True,
    help="Whether the result of an earlier or running job with the same pictures and options will do.  "
    "[default: reuse]",
)
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Submit once only, however often this is run with the same KEY.  [default: a new one]",
)
@click.option("--wait", is_flag=True, help="Follow the job until it ends.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Save the final picture here; implies --wait."
)
@timeout_option
@url_option
@json_option
@click.pass_obj
@click.pass_context
def submit(
    ctx: click.Context,
    output: Output,
    content: Path,
    style: Path,
    *,
    assignments: tuple[str, ...],
    name: str | None,
    labels: tuple[tuple[str, str], ...],
    queue_timeout: float | None,
    run_timeout: float | None,
    reuse: bool,
    idempotency_key: str | None,
    wait: bool,
    out: Path | None,
    timeout: float,
    url: str | None,
) -> None:
    """Submit the picture CONTENT to be redrawn in the style of the picture STYLE.

    Prints the new job's id. If the connection is lost meanwhile, it is asked again, and there is one job all
    the same. With --wait it shows a bar and ends as the job does: exit code 0 when it
    succeeded, 1 when it failed or expired, 3 when it was canceled.

    Example: atelier submit photo.jpg painting.jpg -O steps=200 -o result.png
    """
    options = parse_assignments(assignments)
    parse_options(options)  # refuses at once what the service would refuse; only what was given is sent
    with open_client(url) as client:
        given = {"queue_timeout_seconds": queue_timeout, "run_timeout_seconds": run_timeout}
        send = partial(
            client.submit,
            content,
            style,
            options=options,
            name=name,
            labels=dict(labels),
            timeouts={field: seconds for field, seconds in given.items() if seconds is not None},
            reuse=reuse,
            idempotency_key=idempotency_key or str(uuid4()),
        )
        try:
            submitted = hand_in(send, output=output, timeout_seconds=timeout)
        except KeyboardInterrupt:
            output.say("The job may have been submitted: 'atelier list' tells.")
            raise
        job = submitted.job
        if submitted.is_replay:
            output.say(f"The service had this request already: it is job {job.id}.")
        elif job.leader_id and job.status is JobStatus.SUCCEEDED:
            output.say(f"Job {job.id} was given the result of job {job.leader_id}, which did the same work.")
        if not (wait or out):
            output.answer(job.document, job.id)
            return
        try:
            job = follow_job(client, job.id, output=output, timeout_seconds=timeout)
        except KeyboardInterrupt:
            output.say(
                f"The job goes on: follow it with 'atelier watch {job.id}', "
                f"end it with 'atelier cancel {job.id}'."
            )
            raise
        report_end(job, output)
        text = job.id
        if out and job.outputs:
            text = str(save_picture(client, job, out))
            output.say(f"The picture is in {text}.")
        output.answer(job.document, text)
    ctx.exit(exit_code_for(job.status))

"""New work handed in once, whatever the connection does, followed, and its picture fetched.

What `submit`, `fork` and `extend` have in common, and in part `resume` and `retry`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar
from uuid import uuid4

import click

from shared.terminal import GivenPath, format_seconds, show_notice
from web.cli.client import ApiClient
from web.cli.follow import follow_job, report_end, require_target, save_picture
from web.cli.options import KeyType, timeout_option
from web.cli.output import ConnectionLost, Output, ServiceProblem, ServiceUnreachable, exit_code_for
from web.cli.views import JobView, Submitted

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
Command = TypeVar("Command", bound=Callable[..., Any])


def out_option(text: str, *, is_png: bool = True) -> Callable[[Command], Command]:
    """Add ``-o``: where the picture goes. Looked at before anything is asked for, or computed.

    Where it need not be a PNG, the command itself looks, as soon as it knows what it is.
    """

    def look(_ctx: click.Context, _param: click.Parameter, out: Path | None) -> Path | None:
        if out is not None and is_png:
            require_target(out)
        return out

    return click.option("-o", "--out", type=GivenPath(), callback=look, help=text)


def wait_options(command: Command) -> Command:
    """Add ``--wait``, ``-o`` and ``--timeout``: to follow the job, and fetch its picture."""
    command = timeout_option(command)
    command = out_option("Save the final picture in this file or folder; implies --wait.")(command)
    return click.option("--wait", is_flag=True, help="Follow the job until it ends.")(command)


def refuse_idle_timeout(ctx: click.Context, *, is_followed: bool) -> None:
    """Refuse a --timeout of a command that asks once and follows nothing."""
    if not is_followed and was_given(ctx, "timeout"):
        raise click.UsageError("--timeout is for following the job: it goes with --wait or -o")


def was_given(ctx: click.Context, name: str) -> bool:
    """Whether a parameter of a command was written, and is not a default."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def key_option(command: Command) -> Command:
    """Add ``--idempotency-key``; by default a new one."""
    return click.option(
        "--idempotency-key",
        type=KeyType(),
        default=lambda: str(uuid4()),
        show_default=False,
        help="Do it once only, however often this is run with the same KEY.  [default: a new one]",
    )(command)


def hand_in(submit: Callable[[], Submitted], *, output: Output, timeout_seconds: float) -> Submitted:
    """Return what `submit` makes; it sends the same Idempotency-Key whenever it is called.

    When the connection is lost before the answer came, nobody knows whether it was done. Then it is asked
    again, for up to `timeout_seconds`, while the service is away or ill; the key sees to it that it is done
    once. A service that cannot be reached in the first place is not waited for.

    Raises:
        ServiceUnreachable: when the service is not there, or does not come back.
        ServiceProblem: when it refuses.
    """
    try:
        submitted = _ask_patiently(submit, output=output, timeout_seconds=timeout_seconds)
    except KeyboardInterrupt:
        output.say("It may have been done: 'atelier list' tells.")
        raise
    if submitted.is_replay:
        output.say(f"The service had this request already: it is job {submitted.job.id}.")
    return submitted


def see_through(
    ctx: click.Context,
    client: ApiClient,
    job: JobView,
    *,
    output: Output,
    out: Path | None,
    timeout_seconds: float,
) -> None:
    """Follow a job to its end, fetch its picture into `out`, answer, and end as the job did."""
    try:
        job = follow_job(client, job.id, output=output, timeout_seconds=timeout_seconds)
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


def _ask_patiently(submit: Callable[[], Submitted], *, output: Output, timeout_seconds: float) -> Submitted:
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

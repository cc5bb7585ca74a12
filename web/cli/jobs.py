"""The commands on jobs that exist: status, watch, list, and every action."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from shared.options import parse_assignments
from shared.status import DEFAULT_PRIORITY, JobKind, JobStatus
from shared.terminal import GivenText, WholeNumber, format_seconds
from web.cli.client import ApiClient
from web.cli.follow import follow_job, report_end
from web.cli.handing_in import hand_in, key_option, refuse_idle_timeout, see_through, wait_options
from web.cli.options import (
    MomentType,
    StyleCommand,
    given_priority,
    given_timeouts,
    given_webhook,
    job_argument,
    json_option,
    label_option,
    open_client,
    priority_option,
    style_option,
    timeout_option,
    timeouts_options,
    url_option,
    webhook_options,
)
from web.cli.output import Output, exit_code_for
from web.cli.views import JobView

#: id, status, step, created, and the gaps between them.
_OTHER_COLUMNS = 36 + 9 + 9 + 20 + 2 * 4
_COLOURS = {
    JobStatus.RUNNING: "cyan",
    JobStatus.SUCCEEDED: "green",
    JobStatus.FAILED: "red",
    JobStatus.EXPIRED: "red",
}


@click.command
@job_argument
@url_option
@json_option
@click.pass_obj
def status(output: Output, job_id: str, *, url: str | None) -> None:
    """Show the job ID: status, progress, and why it failed if it did.

    The exit code is 0 whatever the job's status is: 'watch' ends as the job does.
    """
    with open_client(url) as client:
        job = client.job(client.find_job(job_id)).job
        if job is not None:
            output.answer(job.document, "\n".join(_lines(job, client)))


def _lines(job: JobView, client: ApiClient) -> list[str]:
    rows = [("id", job.id)]
    if job.name != job.id:
        rows.append(("name", job.name))
    reason = job.document.get("status_reason")
    rows.append(("status", f"{job.status.value} ({reason})" if reason else job.status.value))
    if job.origin is not None:
        origin_id, step = job.origin
        rows.append(("origin", f"step {step} of {'itself' if origin_id == job.id else origin_id}"))
    if job.attempt > 1:
        rows.append(("attempt", str(job.attempt)))
    if job.steps:
        rows.append(("step", f"{job.step}/{job.steps}"))
    if job.hindrance:
        rows.append(("waiting", job.hindrance))
    if job.loss is not None:
        rows.append(("loss", f"{job.loss:.4g}"))
    if job.seconds_left is not None and not job.status.is_final:
        rows.append(("left", format_seconds(job.seconds_left)))
    if (priority := job.document.get("priority")) not in (None, DEFAULT_PRIORITY):
        rows.append(("priority", str(priority)))
    labels = job.document.get("labels") or {}
    if labels:
        rows.append(("labels", ", ".join(f"{key}:{value}" for key, value in labels.items())))
    if job.leader_id:
        rows.append(("leader", job.leader_id))
    if job.document.get("queue_deadline") and not job.document.get("started_at"):
        rows.append(("deadline", str(job.document["queue_deadline"])))
    for part in ("created_at", "started_at", "completed_at", "expires_at"):
        if job.document.get(part):
            rows.append((part.removesuffix("_at"), str(job.document[part])))
    rows += [
        ("output", f"{item.name}, {item.size_bytes} bytes, {client.address(item.url)}")
        for item in job.outputs
    ]
    rows += [("error", str(job.error[part])) for part in ("detail", "suggestion") if job.error.get(part)]
    if job.document.get("exact") is False:
        rows.append(
            (
                "exact",
                f"no: begun on one kind of device, gone on with on another ({client.url}/docs#numerics)",
            )
        )
    if job.notice:
        rows.append(("notice", f"{job.notice} ({client.url}/docs#untrained-weights)"))
    rows.append(("page", client.page(job.id)))
    return [f"{label:<10} {text}" for label, text in rows]


@click.command
@job_argument
@timeout_option
@url_option
@json_option
@click.pass_obj
@click.pass_context
def watch(ctx: click.Context, output: Output, job_id: str, *, timeout: float, url: str | None) -> None:
    """Follow the job ID with a bar until it ends.

    Ends as the job does: exit code 0 when it succeeded, 1 when it failed or expired, 3 when it was canceled.
    """
    with open_client(url) as client:
        job = follow_job(client, client.find_job(job_id), output=output, timeout_seconds=timeout)
    report_end(job, output)
    output.answer(job.document, job.status.value)
    ctx.exit(exit_code_for(job.status))


@click.command
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in JobStatus]),
    multiple=True,
    help="Only this status; repeatable, for any of them.",
)
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in JobKind]),
    default=JobKind.JOB.value,
    show_default=True,
    help="Jobs, or drafts in their place.",
)
@label_option("Only with this label; repeatable, for all of them.")
@click.option(
    "--name",
    type=GivenText(),
    metavar="TEXT",
    help="Only with this in their name; capital and small letters are alike.",
)
@click.option(
    "--created-after",
    type=MomentType(),
    help="Only younger ones. TIME has its zone, as in 2026-11-23T08:47:41Z.",
)
@click.option("--batch", "batch_id", type=GivenText(), metavar="ID", help="Only those of this batch.")
@click.option(
    "--caller",
    type=GivenText(),
    metavar="NAME",
    help="Those of this caller; the token needs 'manage' for that.",
)
@click.option("--limit", type=WholeNumber(1, 10_000), default=20, show_default=True, help="How many at most.")
@url_option
@json_option
@click.pass_obj
def list_jobs(
    output: Output,
    *,
    statuses: tuple[str, ...],
    kind: str,
    labels: dict[str, str],
    name: str | None,
    created_after: str | None,
    batch_id: str | None,
    caller: str | None,
    limit: int,
    url: str | None,
) -> None:
    """List jobs, newest first."""
    with open_client(url) as client:
        jobs = client.jobs(
            kind=kind,
            statuses=statuses,
            labels=labels,
            name=name,
            created_after=created_after,
            batch_id=batch_id,
            caller=caller,
            limit=limit,
        )
    if output.as_json:
        output.answer({"jobs": [job.document for job in jobs]}, "")
    elif jobs:
        output.out.print(_table(jobs, output.out.width))
    else:
        is_filtered = statuses or labels or name or created_after or batch_id or caller
        output.say(f"There are no such {kind}s." if is_filtered else f"There are no {kind}s yet.")


def _table(jobs: list[JobView], width: int) -> Table:
    """Return the table; the names get what the other columns leave of `width` characters."""
    room = min(40, width - _OTHER_COLUMNS)
    table = Table(box=None, pad_edge=False)
    for title in ("id", "status", "step", "created"):
        table.add_column(title, no_wrap=True)
    if room >= len("name"):
        table.add_column("name", no_wrap=True, max_width=room, overflow="ellipsis")
    for job in jobs:
        cells = [
            job.id,
            f"[{_COLOURS.get(job.status, 'default')}]{job.status.value}[/]",
            f"{job.step}/{job.steps}" if job.steps else "",
            _minute(str(job.document.get("created_at", ""))),
        ]
        table.add_row(
            *cells, *([escape("" if job.name == job.id else job.name)] if room >= len("name") else [])
        )
    return table


def _minute(moment: str) -> str:
    """Return a moment to the minute, with its zone, as people read it."""
    return f"{moment[:10]} {moment[11:16]} UTC" if moment.endswith("Z") else moment


@click.command
@job_argument
@url_option
@json_option
@click.pass_obj
def cancel(output: Output, job_id: str, *, url: str | None) -> None:
    """Cancel the job ID. A queued one is canceled at once, a running one at its next step."""
    with open_client(url) as client:
        job = client.ask(client.find_job(job_id), "cancel")
    output.answer(job.document, job.status.value)


@click.command
@job_argument
@url_option
@json_option
@click.pass_obj
def pause(output: Output, job_id: str, *, url: str | None) -> None:
    """Pause the job ID. A queued one is paused at once, a running one when it has saved a checkpoint."""
    with open_client(url) as client:
        job = client.ask(client.find_job(job_id), "pause")
    paused = "pausing: its worker saves a checkpoint after this step" if job.is_pausing else None
    output.answer(job.document, paused or f"paused at step {job.step} of {job.steps}")


@click.command
@job_argument
@wait_options
@url_option
@json_option
@click.pass_obj
@click.pass_context
def resume(
    ctx: click.Context,
    output: Output,
    job_id: str,
    *,
    wait: bool,
    out: Path | None,
    timeout: float,
    url: str | None,
) -> None:
    """Let the paused job ID go on from its checkpoint, on whichever worker is free."""
    refuse_idle_timeout(ctx, is_followed=wait or out is not None)
    with open_client(url) as client:
        job = client.ask(client.find_job(job_id), "resume")
        if wait or out:
            see_through(ctx, client, job, output=output, out=out, timeout_seconds=timeout)
    output.answer(job.document, f"{job.status.value}: goes on from step {job.step} of {job.steps}")


@click.command
@job_argument
@click.option("--from-zero", is_flag=True, help="Use none of its checkpoints.")
@wait_options
@url_option
@json_option
@click.pass_obj
@click.pass_context
def retry(
    ctx: click.Context,
    output: Output,
    job_id: str,
    *,
    from_zero: bool,
    wait: bool,
    out: Path | None,
    timeout: float,
    url: str | None,
) -> None:
    """Try the job ID again, from its last checkpoint unless --from-zero is given."""
    refuse_idle_timeout(ctx, is_followed=wait or out is not None)
    with open_client(url) as client:
        job = client.ask(client.find_job(job_id), "retry", {"from": "zero" if from_zero else "checkpoint"})
        if wait or out:
            see_through(ctx, client, job, output=output, out=out, timeout_seconds=timeout)
    start = f"step {job.step} of {job.steps}"
    output.answer(job.document, f"{job.status.value}: attempt {job.attempt}, from {start}")


@click.command
@job_argument
@click.argument("steps", type=WholeNumber(min=1))
@key_option
@wait_options
@url_option
@json_option
@click.pass_obj
@click.pass_context
def extend(
    ctx: click.Context,
    output: Output,
    job_id: str,
    steps: int,
    *,
    idempotency_key: str,
    wait: bool,
    out: Path | None,
    timeout: float,
    url: str | None,
) -> None:
    """Let the succeeded job ID make STEPS more steps from where it ended.

    Its picture can be downloaded meanwhile, and is replaced when the job succeeds again.
    """
    with open_client(url) as client:
        send = partial(
            client.ask_once,
            client.find_job(job_id),
            "extend",
            {"steps": steps},
            idempotency_key=idempotency_key,
        )
        job = hand_in(send, output=output, timeout_seconds=timeout).job
        if wait or out:
            see_through(ctx, client, job, output=output, out=out, timeout_seconds=timeout)
    output.answer(job.document, f"{job.status.value}: {steps} more from step {job.step}, {job.steps} in all")


@click.command(cls=StyleCommand)
@job_argument
@click.argument("step", type=WholeNumber(min=1), required=False)
@style_option
@click.option("--name", help="What to call the new job.  [default: as its parent]")
@label_option("Attach a label; repeatable.  [default: those of its parent]")
@priority_option
@timeouts_options
@webhook_options
@key_option
@wait_options
@url_option
@json_option
@click.pass_obj
@click.pass_context
def fork(
    ctx: click.Context,
    output: Output,
    job_id: str,
    step: int | None,
    *,
    assignments: tuple[str, ...],
    name: str | None,
    labels: dict[str, str],
    priority: int | None,
    queue_timeout: float | None,
    run_timeout: float | None,
    webhook: str | None,
    events: tuple[str, ...],
    idempotency_key: str,
    wait: bool,
    out: Path | None,
    timeout: float,
    url: str | None,
) -> None:
    """Begin a new job with the checkpoint that the job ID keeps of STEP, and print the new job's id.

    A job of the method 'fast' has no checkpoints: forked without STEP, the new job optimises its picture.
    Style options that are not given are those of the job ID, which is not changed. `size` cannot be another
    one, and `steps` must be more than STEP. With --wait it ends as the new job does.

    Example: atelier fork ID 50 -O style_weight=0.1
    """
    body: dict[str, object] = {"options": parse_assignments(assignments)}
    if step is not None:
        body["step"] = step
    body |= given_timeouts(queue_timeout, run_timeout) | given_priority(priority)
    body |= given_webhook(webhook, events)
    if name is not None:
        body["name"] = name
    if labels:
        body["labels"] = labels
    with open_client(url) as client:
        parent_id = client.find_job(job_id)
        send = partial(client.ask_once, parent_id, "fork", body, idempotency_key=idempotency_key)
        job = hand_in(send, output=output, timeout_seconds=timeout).job
        hint = "" if wait or out else f"; follow it with 'atelier watch {job.id}'"
        output.say(f"Forked{'' if step is None else f' from step {step}'}{hint}.")
        output.say(f"Its page: {client.page(job.id)}")
        if wait or out:
            see_through(ctx, client, job, output=output, out=out, timeout_seconds=timeout)
    output.answer(job.document, job.id)


@click.command
@job_argument
@url_option
@json_option
@click.pass_obj
def keep(output: Output, job_id: str, *, url: str | None) -> None:
    """Make an ordinary job of the draft ID, with the picture that it has; nothing is computed again.

    Of a job that is no draft nothing changes.
    """
    with open_client(url) as client:
        job = client.ask(client.find_job(job_id), "keep")
    output.answer(job.document, job.id)


@click.command
@job_argument
@priority_option
@click.option("--name", help="What to call it; '' takes its name away.")
@label_option("All of its labels from now on; repeatable.")
@click.option("--no-labels", is_flag=True, help="Take all of its labels away.")
@url_option
@json_option
@click.pass_obj
def change(
    output: Output,
    job_id: str,
    *,
    priority: int | None,
    name: str | None,
    labels: dict[str, str],
    no_labels: bool,
    url: str | None,
) -> None:
    """Change the job ID, which must be queued or paused: its place in the queue, its name, its labels.

    What is not given stays as it is.

    Example: atelier change ID --priority 8
    """
    if labels and no_labels:
        raise click.UsageError(
            "--label gives all of its labels, --no-labels takes them away: give one of both"
        )
    body = given_priority(priority)
    if name is not None:
        body["name"] = name
    if labels or no_labels:
        body["labels"] = labels
    if not body:
        raise click.UsageError("there is nothing to change: give --priority, --name, --label or --no-labels")
    with open_client(url) as client:
        job = client.change(client.find_job(job_id), body)
    place = (job.document.get("queue") or {}).get("position")
    standing = "" if place is None else f", place {place} of the queue"
    output.answer(job.document, f"{job.status.value}: priority {job.document['priority']}{standing}")


@click.command
@job_argument
@url_option
@json_option
@click.pass_obj
def delete(output: Output, job_id: str, *, url: str | None) -> None:
    """Remove the job ID, which must have ended: its record, its history and its files.

    Jobs that were forked from it stay.
    """
    with open_client(url) as client:
        job_id = client.find_job(job_id)
        client.delete(job_id)
    output.answer({"job_id": job_id, "deleted": True}, "deleted")

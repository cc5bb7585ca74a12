"""`atelier status`: show one job as it is now."""

from __future__ import annotations

import click

from shared.terminal import format_seconds
from web.cli.arguments import json_option, open_client, url_option
from web.cli.job_view import JobView
from web.cli.output import Output


@click.command
@click.argument("job_id", metavar="ID")
@url_option
@json_option
@click.pass_obj
def command(output: Output, job_id: str, *, url: str | None) -> None:
    """Show the job ID: status, progress, and why it failed if it did.

    The exit code is 0 whatever the job's status is: 'watch' ends as the job does.
    """
    with open_client(url) as client:
        job = client.job(job_id).job
    if job is not None:
        output.answer(job.document, "\n".join(_lines(job)))


def _lines(job: JobView) -> list[str]:
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
    labels = job.document.get("labels") or {}
    if labels:
        rows.append(("labels", ", ".join(f"{key}={value}" for key, value in labels.items())))
    if job.leader_id:
        rows.append(("leader", job.leader_id))
    if job.document.get("queue_deadline") and not job.document.get("started_at"):
        rows.append(("deadline", str(job.document["queue_deadline"])))
    for part in ("created_at", "started_at", "completed_at", "expires_at"):
        if job.document.get(part):
            rows.append((part.removesuffix("_at"), str(job.document[part])))
    rows += [("output", f"{item.name}, {item.size_bytes} bytes, {item.url}") for item in job.outputs]
    rows += [("error", str(job.error[part])) for part in ("detail", "suggestion") if job.error.get(part)]
    if job.notice:
        rows.append(("notice", job.notice))
    return [f"{label:<10} {text}" for label, text in rows]

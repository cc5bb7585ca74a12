"""`atelier list`: the jobs, as a table or as JSON."""

from __future__ import annotations

import click
from rich.table import Table

from shared.status import JobStatus
from web.cli.arguments import LabelType, json_option, open_client, url_option
from web.cli.job_view import JobView
from web.cli.output import Output

_COLOURS = {
    JobStatus.RUNNING: "cyan",
    JobStatus.SUCCEEDED: "green",
    JobStatus.FAILED: "red",
    JobStatus.EXPIRED: "red",
}


@click.command
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only this status.")
@click.option("--label", "labels", type=LabelType(), multiple=True, help="Only with this label; repeatable.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many at most."
)
@url_option
@json_option
@click.pass_obj
def command(
    output: Output, *, status: str | None, labels: tuple[tuple[str, str], ...], limit: int, url: str | None
) -> None:
    """List jobs, newest first."""
    with open_client(url) as client:
        jobs = client.jobs(status=status, labels=dict(labels), limit=limit)
    if output.as_json:
        output.answer({"jobs": [job.document for job in jobs]}, "")
    elif jobs:
        output.out.print(_table(jobs))
    else:
        output.say("There are no such jobs." if status or labels else "There are no jobs yet.")


def _table(jobs: list[JobView]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("name", overflow="ellipsis", no_wrap=True, max_width=30)
    for title in ("status", "step", "created"):
        table.add_column(title, no_wrap=True)
    for job in jobs:
        table.add_row(
            job.id,
            "" if job.name == job.id else job.name,
            f"[{_COLOURS.get(job.status, 'default')}]{job.status.value}[/]",
            f"{job.step}/{job.steps}" if job.steps else "",
            str(job.document.get("created_at", ""))[:19],
        )
    return table

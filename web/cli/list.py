"""`atelier list`: the jobs, as a table or as JSON."""

from __future__ import annotations

import click
from rich.markup import escape
from rich.table import Table

from shared.status import JobStatus
from web.cli.arguments import LabelType, json_option, open_client, url_option
from web.cli.job_view import JobView
from web.cli.output import Output

#: id, status, step, created, and the gaps between them.
_OTHER_COLUMNS = 36 + 9 + 9 + 16 + 2 * 4
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
        output.out.print(_table(jobs, output.out.width))
    else:
        output.say("There are no such jobs." if status or labels else "There are no jobs yet.")


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
            str(job.document.get("created_at", ""))[:16].replace("T", " "),
        ]
        table.add_row(
            *cells, *([escape("" if job.name == job.id else job.name)] if room >= len("name") else [])
        )
    return table

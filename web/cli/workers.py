"""The commands on workers: list them, show the queue, drain one, start one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from shared.settings import load_settings
from shared.terminal import GivenPath, LazyGroup, format_seconds
from web.cli.local.worker_requests import ask_up
from web.cli.options import json_option, open_client, url_option
from web.cli.output import Output

_COLOURS = {"busy": "cyan", "idle": "green", "draining": "yellow"}
_GIGABYTE = 1e9


@click.command
@url_option
@json_option
@click.pass_obj
def workers(output: Output, *, url: str | None) -> None:
    """List the workers that are connected: device, memory, state, and the job each of them has."""
    with open_client(url) as client:
        document = client.workers()
    if output.as_json:
        output.answer(document, "")
        return
    if document.get("workers"):
        output.out.print(_table(document["workers"]))
        for worker in document["workers"]:
            for method, reason in (worker.get("not_served") or {}).items():
                output.say(f"{worker['id']} does not serve {method}: {reason}", style="yellow")
    if document.get("room"):
        output.say(f"Storage: {_room(document['room'].get('storage') or {})} as the web host sees it.")
    if document.get("message"):
        output.say(str(document["message"]), style="yellow")


def _table(workers: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    has_labels = any(worker.get("labels") for worker in workers)
    labels = ("labels",) if has_labels else ()
    for title in ("id", "state", "device", "memory", "weights", "methods", *labels, "heard", "job"):
        table.add_column(title, no_wrap=title in ("state", "memory", "heard"), overflow="fold")
    for worker in workers:
        state = str(worker.get("state", ""))
        table.add_row(
            escape(str(worker["id"])),
            f"[{_COLOURS.get(state, 'default')}]{escape(state)}[/]",
            escape(str(worker.get("device", ""))),
            _memory(worker.get("memory") or {}),
            escape(str(worker.get("weights", ""))),
            escape(", ".join(worker.get("methods") or ())),
            *([_labels(worker.get("labels") or {})] if has_labels else []),
            f"{format_seconds(worker.get('heartbeat_age_seconds') or 0)} ago",
            _job(worker.get("job")),
        )
    return table


def _labels(labels: dict[str, str]) -> str:
    return escape(", ".join(f"{key}={value}" for key, value in sorted(labels.items())))


def _memory(memory: dict[str, Any]) -> str:
    total, used = memory.get("total_bytes"), memory.get("used_bytes")
    if total is None:
        return "–"
    return f"{'–' if used is None else f'{used / _GIGABYTE:.1f}'} of {total / _GIGABYTE:.1f} GB"


def _room(room: dict[str, Any]) -> str:
    free = room.get("free_bytes")
    return "–" if free is None else f"{free / _GIGABYTE:.1f} GB free"


def _job(job: dict[str, Any] | None) -> str:
    return "–" if not job else f"{escape(str(job['id']))} {job.get('step')}/{job.get('steps')}"


_QUEUE_COMMANDS = {
    "set-aside": ("web.cli.set_aside:set_aside", "Look at what could not be read, put it back, or drop it."),
}


@click.group(cls=LazyGroup, table=_QUEUE_COMMANDS, invoke_without_command=True)
@url_option
@json_option
@click.pass_context
def queue(ctx: click.Context, *, url: str | None) -> None:
    """Show how many jobs wait, how long the first of them has, and how long a new one is likely to."""
    if ctx.invoked_subcommand is not None:
        if url is not None:
            raise click.UsageError(
                f"{ctx.invoked_subcommand} asks Redis, not the service: --url is of no use"
            )
        return
    output = ctx.ensure_object(Output)
    with open_client(url) as client:
        document = client.queue()
    output.answer(document, "\n".join(_lines(document)))
    if document.get("message"):
        output.say(str(document["message"]), style="yellow")


def _lines(queue: dict[str, Any]) -> list[str]:
    rows = [
        ("depth", queue.get("depth")),
        ("for others", queue.get("waiting_for_others")),
        ("running", queue.get("running")),
        ("paused", queue.get("paused")),
        ("oldest", _seconds(queue.get("oldest_age_seconds"))),
        ("backlog", _backlog(queue)),
        ("workers", "unknown" if queue.get("workers") is None else queue["workers"]),
    ]
    return [f"{label:<10} {value}" for label, value in rows]


def _backlog(queue: dict[str, Any]) -> str:
    """Return how long a new job is likely to wait, and between which times it almost surely does."""
    likely = _seconds(queue.get("backlog_seconds"))
    low, high = queue.get("backlog_low_seconds"), queue.get("backlog_high_seconds")
    if low is None or high is None or low == high:
        return likely
    return f"{likely} ({format_seconds(low)} to {format_seconds(high)})"


def _seconds(value: float | None) -> str:
    return "–" if value is None else format_seconds(value)


@click.command
@click.argument("worker_id", metavar="WORKER_ID")
@url_option
@json_option
@click.pass_obj
def drain(output: Output, worker_id: str, *, url: str | None) -> None:
    """Let the worker WORKER_ID save a checkpoint, hand its job back and end.

    Another worker goes on with the job. The drained one stays down until somebody starts it: 'atelier
    worker start WORKER_ID' where 'atelier up' runs, else 'atelier-worker run' on its machine. 'atelier
    workers' lists it until it has ended.
    """
    with open_client(url) as client:
        worker = client.drain(client.find_worker(worker_id))
    output.answer(worker, str(worker["state"]))


@click.group(
    cls=LazyGroup,
    table={
        "add": ("web.cli.workers:add", "Start another worker."),
        "start": ("web.cli.workers:start", "Start one that was drained or has given up."),
    },
)
def worker() -> None:
    """Start workers of the 'atelier up' on this machine: another one, or one that has ended."""


def _data_dir_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--data-dir",
        type=GivenPath(file_okay=False),
        help="The folder of that 'atelier up'. [default: ATELIER_DATA_DIR, else data]",
    )(command)


@click.command
@_data_dir_option
@json_option
@click.pass_obj
def add(output: Output, *, data_dir: Path | None) -> None:
    """Start another worker of the 'atelier up' on this machine."""
    said = ask_up(_folder(data_dir), "add")
    output.answer({"answer": said}, said)


@click.command
@click.argument("worker_id", metavar="WORKER_ID")
@_data_dir_option
@json_option
@click.pass_obj
def start(output: Output, worker_id: str, *, data_dir: Path | None) -> None:
    """Start the worker WORKER_ID of the 'atelier up' on this machine, which was drained or has given up."""
    said = ask_up(_folder(data_dir), f"start {worker_id}")
    output.answer({"answer": said}, said)


def _folder(data_dir: Path | None) -> Path:
    return load_settings(os.environ).data_dir if data_dir is None else data_dir.expanduser().absolute()

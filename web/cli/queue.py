"""`atelier queue`: how much waits, and for how long."""

from __future__ import annotations

from typing import Any

import click

from shared.terminal import format_seconds
from web.cli.arguments import json_option, open_client, url_option
from web.cli.output import Output


@click.command
@url_option
@json_option
@click.pass_obj
def command(output: Output, *, url: str | None) -> None:
    """Show how many jobs wait, how long the first of them has, and how long a new one is likely to."""
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
        ("backlog", _seconds(queue.get("backlog_seconds"))),
        ("workers", "unknown" if queue.get("workers") is None else queue["workers"]),
    ]
    return [f"{label:<10} {value}" for label, value in rows]


def _seconds(value: float | None) -> str:
    return "–" if value is None else format_seconds(value)

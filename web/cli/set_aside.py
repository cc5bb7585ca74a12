"""`atelier queue set-aside`: what could not be read in Redis, listed, put back or forgotten.

It asks Redis, and the storage for the installation's names there; neither the service nor its database. Such
entries may hold anything of anybody, and looking at them is for operators: the API does not show them.
"""

from __future__ import annotations

import os

import click

from shared.clock import to_rfc3339
from shared.errors import NotFound
from shared.installation import names_at
from shared.logs import configure_logs
from shared.redis import Coordination
from shared.redis.set_aside import KEEP_ENTRIES, SetAsideEntry
from shared.settings import load_settings
from shared.storage import store_of
from shared.terminal import GivenText, WholeNumber
from web.cli.handing_in import was_given
from web.cli.options import json_option
from web.cli.output import Output, only_one

_SHOWN_CHARACTERS = 300


@click.command("set-aside")
@click.option(
    "--requeue",
    type=GivenText(),
    metavar="ID",
    help="Put the entry ID back to where it was, to be tried again.",
)
@click.option("--drop", type=GivenText(), metavar="ID", help="Forget the entry ID.")
@click.option(
    "--limit",
    type=WholeNumber(1, 1000),
    default=100,
    show_default=True,
    help="List so many, newest first.",
)
@json_option
@click.pass_obj
@click.pass_context
def set_aside(
    ctx: click.Context, output: Output, *, requeue: str | None, drop: str | None, limit: int
) -> None:
    """List the messages and reports in Redis that could not be read, or do something about one.

    They were set aside so that they hold up no others; the last 1000 are kept. It asks the Redis and the
    storage that the settings name, on any machine that has both.
    """
    if requeue is not None and drop is not None:
        raise click.UsageError("--requeue and --drop exclude each other")
    if was_given(ctx, "limit") and (requeue is not None or drop is not None):
        raise click.UsageError("--limit is for the list: it goes without --requeue and --drop")
    settings = load_settings(os.environ)
    configure_logs(settings.model_copy(update={"log_level": "warning", "log_format": "console"}))
    redis = Coordination.connect(settings, names_at(store_of(settings)))
    try:
        if requeue is not None:
            entry_id = _find(redis, requeue)
            _answer(output, entry_id, "requeued", done=redis.set_aside.requeue(entry_id))
        elif drop is not None:
            entry_id = _find(redis, drop)
            _answer(output, entry_id, "dropped", done=redis.set_aside.drop(entry_id))
        else:
            entries, count = redis.set_aside.entries(limit), redis.set_aside.count()
            document = {"count": count, "entries": [_to_json(entry) for entry in entries]}
            output.answer(document, _text(entries, count))
    finally:
        redis.close()


def _find(redis: Coordination, text: str) -> str:
    """Return the id of the entry whose id is, or alone begins with, a text."""
    return only_one(text, [entry.id for entry in redis.set_aside.entries(KEEP_ENTRIES)], kind="entries")


def _answer(output: Output, entry_id: str, what: str, *, done: bool) -> None:
    if not done:
        hint = ", or it was cut and cannot be put back" if what == "requeued" else ""
        raise NotFound(f"there is no entry with the id '{entry_id}'{hint}")
    output.answer({"id": entry_id, what: True}, f"{entry_id} {what}")


def _to_json(entry: SetAsideEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "at": to_rfc3339(entry.at),
        "reason": entry.reason,
        "source": entry.source,
        "entry": entry.entry,
        "cut": entry.cut,
        "times": entry.times,
    }


def _text(entries: list[SetAsideEntry], count: int) -> str:
    if not entries:
        return "Nothing is set aside."
    lines = []
    for entry in entries:
        often = f"  {entry.times} times, the last then" if entry.times > 1 else ""
        lines += [f"{entry.id}  {to_rfc3339(entry.at)}  {entry.source}{often}", f"  {_brief(entry.reason)}"]
        lines.append(f"  {_brief(entry.entry)}")
    if count > len(entries):
        lines.append(f"… and {count - len(entries)} older ones; --limit shows more")
    return "\n".join(lines)


def _brief(text: str) -> str:
    """Return a text in one line, without what a terminal might take for a command."""
    line = "".join(char if char.isprintable() else " " for char in text[: _SHOWN_CHARACTERS + 1])
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"

"""`atelier webhook`: who is told what becomes of jobs, the secrets, and the log of what was told."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from shared.terminal import GivenText, LazyGroup, WholeNumber
from web.cli.options import event_option, json_option, open_client, url_option
from web.cli.output import Output
from web.webhooks.message import State

_NAME = click.argument("name", type=GivenText())
_MESSAGE = click.argument("message_id", metavar="ID", type=GivenText())


@click.group(
    cls=LazyGroup,
    table={
        "put": ("web.cli.webhook:put", "Make a webhook, or change it."),
        "list": ("web.cli.webhook:list_all", "List webhooks."),
        "show": ("web.cli.webhook:show", "Show a webhook and its secrets."),
        "delete": ("web.cli.webhook:delete", "Delete a webhook and its log."),
        "rotate": ("web.cli.webhook:rotate", "Replace a webhook's secret."),
        "end-secret": ("web.cli.webhook:end_secret", "End an old secret at once."),
        "told": ("web.cli.webhook:told", "List what webhooks were told."),
        "message": ("web.cli.webhook:message", "Show one message and its attempts."),
        "redeliver": ("web.cli.webhook:redeliver", "Send a message again."),
    },
)
def webhook() -> None:
    """Addresses that are told what becomes of jobs: of all of yours, or of one ('submit --webhook').

    Messages are signed as https://www.standardwebhooks.com has it. What single jobs bring is signed with the
    secret of the webhook called default, which needs no address of its own.
    """


@click.command
@_NAME
@click.argument("address", type=GivenText(), required=False)
@event_option("--event", "What it is told of; repeatable.  [default: how jobs ended]")
@url_option
@json_option
@click.pass_obj
def put(output: Output, name: str, address: str | None, *, events: tuple[str, ...], url: str | None) -> None:
    """Make the webhook NAME, which ADDRESS is told of, and print its secret; or change it.

    Without an ADDRESS only its secret is of use, for the addresses that jobs bring.

    Example: atelier webhook put ci https://ci.example.com/hooks/atelier
    """
    body = {"url": address, **({"events": list(events)} if events else {})}
    with open_client(url) as client:
        document = client.put_webhook(name, body)
    if "secret" in document:
        output.answer(document, str(document["secret"]))
        output.say("This is the only time that its secret is shown.")
    else:
        output.answer(document, f"{name} is changed")


@click.command("list")
@url_option
@json_option
@click.pass_obj
def list_all(output: Output, *, url: str | None) -> None:
    """List your webhooks."""
    with open_client(url) as client:
        found = client.webhooks()
    if output.as_json:
        output.answer({"webhooks": found}, "")
        return
    if not found:
        output.say("There is no webhook.")
        return
    table = _table("name", "address", "told of", "state")
    for one in found:
        state = "in use" if one["ended_at"] is None else f"gone since {one['ended_at']}"
        table.add_row(one["id"], escape(one["url"] or "–"), " ".join(one["events"]), state)
    output.out.print(table)


@click.command
@_NAME
@url_option
@json_option
@click.pass_obj
def show(output: Output, name: str, *, url: str | None) -> None:
    """Show the webhook NAME, and which secrets are valid."""
    with open_client(url) as client:
        one = client.webhook(name)
    lines = [f"address   {one['url'] or '–'}", f"told of   {' '.join(one['events'])}"]
    lines += [] if one["ended_at"] is None else [f"gone      since {one['ended_at']}"]
    lines += [
        f"secret    {secret['id']}  {secret['shown']}…  "
        + ("valid" if secret["expires_at"] is None else f"valid until {secret['expires_at']}")
        for secret in one["secrets"]
    ]
    output.answer(one, "\n".join(lines))


@click.command
@_NAME
@url_option
@json_option
@click.pass_obj
def delete(output: Output, name: str, *, url: str | None) -> None:
    """Delete the webhook NAME: what waits for it is not sent, and the log of what it was told goes."""
    with open_client(url) as client:
        client.delete_webhook(name)
    output.answer({"id": name, "deleted": True}, f"{name} is deleted")


@click.command
@_NAME
@url_option
@json_option
@click.pass_obj
def rotate(output: Output, name: str, *, url: str | None) -> None:
    """Make a new secret for the webhook NAME, and print it; the one before stays valid for a day."""
    with open_client(url) as client:
        made = client.rotate_secret(name)
    output.answer(made, str(made["secret"]))
    output.say("This is the only time that it is shown. The one before is valid for a day more.")


@click.command("end-secret")
@_NAME
@click.argument("secret_id", metavar="ID", type=GivenText())
@url_option
@json_option
@click.pass_obj
def end_secret(output: Output, name: str, secret_id: str, *, url: str | None) -> None:
    """End the secret ID of the webhook NAME at once: one that another has replaced, and that has leaked."""
    with open_client(url) as client:
        client.end_secret(name, secret_id)
    output.answer({"id": secret_id, "ended": True}, f"{secret_id} is of no use any more")


@click.command
@click.option("--job", "job_id", type=GivenText(), metavar="ID", help="Only of this job.")
@click.option("--webhook", "name", type=GivenText(), metavar="NAME", help="Only to this webhook.")
@click.option(
    "--state", type=click.Choice([state.value for state in State]), help="Only those at this state."
)
@click.option(
    "--limit", type=WholeNumber(1, 10_000), default=20, show_default=True, help="How many, newest first."
)
@url_option
@json_option
@click.pass_obj
def told(
    output: Output, *, job_id: str | None, name: str | None, state: str | None, limit: int, url: str | None
) -> None:
    """List what your webhooks were told, or are to be told, newest first."""
    with open_client(url) as client:
        asked = {"job_id": client.find_job(job_id) if job_id else None, "webhook_id": name, "state": state}
        found = client.deliveries(asked, limit=limit)
    if output.as_json:
        output.answer({"deliveries": found}, "")
        return
    table = _table("message", "event", "job", "to", "state", "attempts", "next")
    for one in found:
        table.add_row(
            one["id"],
            one["event"],
            one["job_id"],
            escape(one["webhook_id"] or one["receiver"]),
            one["state"],
            str(one["attempts"]),
            one["next_at"] or "",
        )
    output.out.print(table)


@click.command
@_MESSAGE
@url_option
@json_option
@click.pass_obj
def message(output: Output, message_id: str, *, url: str | None) -> None:
    """Show the message ID: its attempts, and what it says."""
    with open_client(url) as client:
        one = client.delivery(message_id)
    lines = [f"{one['event']} of job {one['job_id']} to {one['receiver']}: {one['state']}"]
    lines += [f"{each['number']:>4}  {each['started_at']}  {_outcome(each)}" for each in one["log"]]
    lines += [] if one["body"] is None else [one["body"]]
    output.answer(one, "\n".join(lines))


@click.command
@_MESSAGE
@url_option
@json_option
@click.pass_obj
def redeliver(output: Output, message_id: str, *, url: str | None) -> None:
    """Send the message ID again, with the same id and body, and for a day if that fails."""
    with open_client(url) as client:
        one = client.redeliver(message_id)
    output.answer(one, f"{one['id']} is sent again")


def _outcome(attempt: dict[str, Any]) -> str:
    said = f"{attempt['status'] or attempt['error']} after {attempt['seconds']:g} s"
    answer = " ".join((attempt["answer"] or "").split())
    return f"{said}  {answer[:200]}" if answer else said


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table

"""`atelier token`: tokens made, listed and revoked, on the web host, without the service."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from shared.clock import to_rfc3339, utc_now
from shared.terminal import GivenText, LazyGroup
from web.access.tokens import Scope, create_token, list_tokens, revoke_token
from web.api.tokens import token_out
from web.cli.options import SpanType, json_option, open_client, url_option
from web.cli.output import Output
from web.cli.prune import local_backend

#: How a limit is told, after its number.
_LIMIT_WORDS = {
    "requests": "requests in this minute",
    "streams": "event streams open",
    "jobs": "jobs queued or running",
    "drafts": "drafts under way",
    "stored_bytes": "bytes stored",
    "size_px": "pixels as the size of a job",
}


@click.group(
    cls=LazyGroup,
    table={
        "create": ("web.cli.token:create", "Make a token, and print it once."),
        "show": ("web.cli.token:show", "Tell what a service takes you for."),
        "list": ("web.cli.token:list_all", "List all tokens."),
        "revoke": ("web.cli.token:revoke", "Take a token out of use."),
    },
)
def token() -> None:
    """Who may reach the service, and what they may do; on the web host.

    From the first token on, every request needs one: 'Authorization: Bearer TOKEN', or ATELIER_TOKEN for this
    command line. A token belongs to a caller, who sees and changes only what is theirs.
    """


@click.command
@click.argument("name", type=GivenText())
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    default=[Scope.SUBMIT.value],
    show_default=True,
    help="What it may do: see what is its caller's; also submit and change; see and change everybody's; also "
    "make tokens.",
)
@click.option(
    "--caller",
    type=GivenText(),
    help="Whom it belongs to; every token but the first needs it. That one is local's unless you name "
    "another: all that is there already is local's.",
)
@click.option(
    "--expires", type=SpanType(), default="90d", show_default=True, help="How long it is of use, or never."
)
@json_option
@click.pass_obj
def create(
    output: Output, *, name: str, scopes: tuple[str, ...], caller: str | None, expires: timedelta | None
) -> None:
    """Make the token NAME, and print it. It is kept nowhere: who loses it makes another."""
    now = utc_now()
    with local_backend(may_make=True) as backend, backend.database.write() as session:
        made = create_token(
            session,
            name=name,
            scopes={Scope(scope) for scope in scopes},
            caller=caller,
            expires_at=None if expires is None else now + expires,
            now=now,
        )
        shown = token_out(made.row)
    output.answer({**shown.model_dump(mode="json"), "token": made.text}, made.text)
    until = "for ever" if shown.expires_at is None else f"until {to_rfc3339(shown.expires_at)}"
    output.say(f"It is {shown.caller}'s, may {', '.join(shown.scopes)}, and is of use {until}.")
    output.say("This is the only time that it is shown. The command line reads it from ATELIER_TOKEN.")


@click.command
@url_option
@json_option
@click.pass_obj
def show(output: Output, *, url: str | None) -> None:
    """Ask a service for whom the token in ATELIER_TOKEN asks, what it may do, and how much."""
    with open_client(url) as client:
        access, limits = client.own_access(), client.limits()["limits"]
    lines = [f"{access['caller']}, who may {', '.join(access['scopes']) or 'do nothing'}"]
    lines += [line for one in limits if (line := _limit_line(one))]
    output.answer({**access, "limits": limits}, "\n".join(lines))
    if access["token_id"] is None:
        output.say("This service asks for no token: everybody who reaches it may do everything.")


@click.command("list")
@json_option
@click.pass_obj
def list_all(output: Output) -> None:
    """List all tokens, newest first: those that were revoked or have expired, too."""
    with local_backend() as backend, backend.database.read() as session:
        shown = [token_out(row).model_dump(mode="json") for row in list_tokens(session)]
    if output.as_json:
        output.answer({"tokens": shown}, "")
        return
    if not shown:
        output.say("There is no token: on this machine everybody may do everything, as the caller local.")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "begins", "caller", "scopes", "state", "last used"):
        table.add_column(title, overflow="fold")
    now = to_rfc3339(utc_now())
    for one in shown:
        table.add_row(
            escape(one["name"]),
            escape(one["shown"]) + "…",
            escape(one["caller"]),
            " ".join(one["scopes"]),
            _state(one, now),
            one["last_used_at"] or "never",
        )
    output.out.print(table)


@click.command
@click.argument("name", type=GivenText())
@json_option
@click.pass_obj
def revoke(output: Output, *, name: str) -> None:
    """Take the token NAME, or with this id, out of use: within a second nobody gets in with it."""
    with local_backend() as backend, backend.database.write() as session:
        shown = token_out(revoke_token(session, name, now=utc_now()))
    output.answer(shown.model_dump(mode="json"), f"{shown.name} is revoked")


def _limit_line(one: Mapping[str, Any]) -> str:
    """Return a limit, and what is used of it, in a line; empty where there is none."""
    if one["limit"] is None or one["name"] not in _LIMIT_WORDS:
        return ""
    used = "at most" if one["used"] is None else f"{one['used']} of"
    return f"{used} {one['limit']} {_LIMIT_WORDS[one['name']]}"


def _state(one: dict[str, str | None], now: str) -> str:
    if one["revoked_at"]:
        return "revoked"
    if one["expires_at"] is None:
        return "in use, for ever"
    return "expired" if one["expires_at"] <= now else f"in use until {one['expires_at']}"

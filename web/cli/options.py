"""What several commands take: --url, --json, --timeout and KEY=VALUE labels; and the client they lead to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from shared.options import option_help
from shared.settings import load_settings
from web.cli.client import ApiClient
from web.cli.output import Output

Command = TypeVar("Command", bound=Callable[..., Any])


class LabelType(click.ParamType[tuple[str, str]]):
    """A label, ``KEY=VALUE``, as a pair."""

    name = "KEY=VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return the pair in a word; fail without ``=`` or without a key."""
        if isinstance(value, tuple):
            return value
        key, separator, text = str(value).partition("=")
        if not separator or not key:
            self.fail(f"'{value}' is not of the form KEY=VALUE", param, ctx)
        return key, text


def url_option(command: Command) -> Command:
    """Add ``--url``: where the service is."""
    return click.option(
        "--url",
        metavar="URL",
        help="Where the service is. [default: ATELIER_URL, else http://127.0.0.1:8000]",
    )(command)


def json_option(command: Command) -> Command:
    """Add ``--json``; the flag is kept in the `Output` that every command is given."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.ensure_object(Output).as_json = value

    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember,
        help="Write one JSON document to standard output, and nothing else.",
    )(command)


def timeout_option(command: Command) -> Command:
    """Add ``--timeout``: how long the service may be away while a job is followed."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=60,
        show_default=True,
        metavar="SECONDS",
        help="How long the service may be out of reach before giving up; a restart of it is waited for.",
    )(command)


def open_client(url: str | None) -> ApiClient:
    """Return a client of the service at `url`, else at the one that the settings name."""
    return ApiClient(url or load_settings(os.environ).url)


class StyleCommand(click.Command):
    """A command whose help ends with the style options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write one line for every style option, from the definition that the service uses too."""
        with formatter.section("Style options for -O, with defaults and ranges"):
            formatter.write_dl([_columns(line) for line in option_help().splitlines()])


def style_option(command: Command) -> Command:
    """Add ``-O``: a style option as ``NAME=VALUE``."""
    return click.option(
        "-O",
        "--option",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a style option; repeatable.",
    )(command)


def _columns(line: str) -> tuple[str, str]:
    assignment, _, rest = line.partition(" ")
    return assignment, rest

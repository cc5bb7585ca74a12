"""The option ``-O NAME=VALUE`` of the commands that make jobs, and their help, which lists all of them."""

from __future__ import annotations

import click

from shared.options import option_help
from web.cli.arguments import Command


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

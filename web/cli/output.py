"""Where a command writes: its answer to standard output, everything for people to standard error."""

from __future__ import annotations

import json

import click
from rich.console import Console

from shared.errors import AtelierError
from web.cli.errors import CliError


class Output:
    """The two streams of a command; with `as_json`, standard output holds one JSON document, nothing else."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False)
        if not self.out.is_terminal:
            self.out.width = 200  # what reads a pipe has no use for cut columns
        self.err = Console(stderr=True, highlight=False)

    def answer(self, document: object, text: str) -> None:
        """Write the command's answer: the document with ``--json``, else the text."""
        click.echo(json.dumps(document, indent=2, ensure_ascii=False) if self.as_json else text)

    def say(self, message: str, *, style: str | None = None) -> None:
        """Write a message for people."""
        self.err.print(message, style=style, markup=False, soft_wrap=True)

    def fail(self, error: AtelierError | CliError) -> None:
        """Write an error: its detail, each fault and a suggestion; with ``--json`` also as a document."""
        self.say(f"Error: {error.detail}", style="bold red")
        for fault in error.faults:
            if fault.detail not in error.detail:
                self.say(f"  {fault.pointer}: {fault.detail}")
        document = error.to_json()
        if document.get("suggestion"):
            self.say(str(document["suggestion"]))
        if self.as_json:
            document.setdefault("errors", [fault.to_json() for fault in error.faults])
            click.echo(json.dumps({"error": document}, indent=2, ensure_ascii=False))

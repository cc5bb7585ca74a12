"""The words of a command line, read as the program reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


def read_words(program: click.Group, command: str, words: Sequence[str]) -> dict[str, Any]:
    """Return what a command of a program makes of words.

    Within the program's own context: click keeps the help option that a command shows first, and outside it
    knows no ``-h``.
    """
    parent = click.Context(program, **program.context_settings)
    found = program.get_command(parent, command)
    assert found is not None, command
    return found.make_context(command, list(words), parent=parent).params

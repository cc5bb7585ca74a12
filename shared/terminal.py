"""Shared parts of both command lines: lazily loaded commands, the progress bar of a job, notices."""

from __future__ import annotations

import codecs
import difflib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

import click
from click.shell_completion import CompletionItem
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn

#: Where a context keeps the words that its program was called with.
_WORDS = "atelier.words"
#: What a terminal shows that lacks the letter.
_PLAIN = {"–": "-", "—": "-", "…": "...", "×": "x", "·": "-", "’": "'", "→": "->"}


def write_as_can_be(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written in place of characters that a stream's encoding lacks.

    A part of a file's name that was no text comes out as the bytes that it was.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    pieces = (_as_can_be(char) for char in error.object[error.start : error.end])
    return b"".join(pieces), error.end


def _as_can_be(char: str) -> bytes:
    if "\udc80" <= char <= "\udcff":
        return bytes([ord(char) - 0xDC00])
    return _PLAIN.get(char, "?").encode()


def prepare_streams() -> None:
    """Let standard output and standard error take every text, whatever the locale is."""
    codecs.register_error("atelier", write_as_can_be)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="atelier")


def to_json_text(document: object) -> str:
    """Return a document for standard output; in ASCII where that is not UTF-8, so that nothing is lost."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return json.dumps(document, indent=2, ensure_ascii=not is_unicode)


class SettingsRefused(click.UsageError):
    """A setting is wrong; said as a wrong word of the command line is."""

    code = "invalid_settings"


@contextmanager
def _usage_told(words: Sequence[str], *, is_outermost: bool) -> Iterator[None]:
    """Write a refusal of words as one JSON document, too, where ``--json`` is among them."""
    try:
        yield
    except click.UsageError as error:
        if is_outermost and "--json" in words:
            told = {"code": getattr(error, "code", "usage_refused"), "detail": error.format_message()}
            click.echo(to_json_text({"error": {**told, "suggestion": None, "errors": []}}))
        raise


class GivenPath(click.Path):
    """The path of a file or folder; the empty one is none, and not the current folder."""

    def __init__(self, **more: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(path_type=Path, **more)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's own
        """Return the path in a word; fail for an empty one."""
        if value == "":
            self.fail("it is empty; name a file or a folder ('.' is the current one)", param, ctx)
        return super().convert(value, param, ctx)


class GivenText(click.ParamType[str]):
    """A text; an empty one is refused, since it would stand for no text at all."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text in a word; fail for an empty one."""
        if not str(value).strip():
            self.fail("it is empty; leave the option out instead", param, ctx)
        return str(value)


class WholeNumber(click.IntRange):
    """A whole number within bounds; whatever else is given, the bounds are told."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's own
        """Return the number in a word; fail for any other word."""
        try:
            int(value)
        except ValueError:
            least = "" if self.min is None else f" from {self.min} on"
            bounds = least if self.max is None else f" from {self.min or 0} to {self.max}"
            self.fail(f"'{value}' is no whole number{bounds}", param, ctx)
        return super().convert(value, param, ctx)


def _refuse_repeated(ctx: click.Context, command: click.Command, name: str, words: Sequence[str]) -> None:
    """Refuse an option with one value that is given twice: click takes the last, and says nothing."""
    own = click.Context(command, ctx, name)
    try:
        *_, given = command.make_parser(own).parse_args(list(words))
    except click.UsageError:
        return  # said when the words are read for good
    seen: set[click.Option] = set()
    for param in given:
        if isinstance(param, click.Option) and not (param.multiple or param.count):
            if param in seen and (param.secondary_opts or not param.is_flag):
                raise click.UsageError(f"{param.opts[-1]} is given twice; it has one value", own)
            seen.add(param)


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called.

    `table` names each command, in the order of use: its ``module:function``, and the one line that the list
    of commands shows without importing it.
    """

    def __init__(self, *arguments: Any, table: Mapping[str, tuple[str, str]], **more: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*arguments, **more)
        self._table = table

    def main(self, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - click's own
        """Run the program that this is."""
        prepare_streams()
        return super().main(*arguments, **more)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's own
    ) -> click.Context:
        """Read the words as far as they are this group's own."""
        words = list(args)
        with _usage_told(words, is_outermost=parent is None):
            ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta.setdefault(_WORDS, words)
        return ctx

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own
        """Run the command that the words name."""
        with _usage_told(ctx.meta.get(_WORDS, ()), is_outermost=ctx.parent is None):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands, in the order of use."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command; None when there is none of this name."""
        if cmd_name not in self._table:
            return None
        module, _, function = self._table[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the words begin with; refuse an unknown one, with what is near it."""
        word = args[0]
        if word not in self._table and not ctx.resilient_parsing and not word.startswith("-"):
            near = difflib.get_close_matches(word, self._table, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(self._table)}"
            ctx.fail(f"there is no command '{word}'; {hint}")
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            _refuse_repeated(ctx, command, word, rest)
        return name, command, rest

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what a shell may complete a word to; of commands from the table, without importing them."""
        commands = [
            CompletionItem(name, help=line)
            for name, (_, line) in self._table.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._table[name][1]) for name in self.list_commands(ctx)])


class StepBar:
    """A progress bar with step, loss and time left; plain lines every tenth step without a terminal."""

    def __init__(self, console: Console, *, title: str) -> None:
        self._console = console
        self._title = title
        self._last_line = -1
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[left]} left"),
            console=console,
        )
        self._task = self._progress.add_task(title, total=100, loss="–", left="–")

    def __enter__(self) -> StepBar:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def update(self, step: int, steps: int, *, loss: float | None, seconds_left: float | None) -> None:
        """Show that `step` of `steps` is done; `loss` and `seconds_left` may not be known yet."""
        shown = "–" if loss is None else f"{loss:.4g}"
        left = "–" if seconds_left is None else format_seconds(seconds_left)
        if self._console.is_terminal:
            self._progress.update(self._task, completed=step, total=steps, loss=shown, left=left)
        elif step // 10 > self._last_line // 10 or (step == steps and step > self._last_line):
            self._last_line = step
            self._console.print(f"{self._title}: step {step}/{steps}, loss {shown}, {left} left")


def format_seconds(seconds: float) -> str:
    """Return a duration for display: ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_took(seconds: float) -> str:
    """Return how long something took, in tenths below ten seconds: ``0.3 s``, ``12 s``."""
    return f"{max(0.0, seconds):.1f} s" if seconds < 9.95 else format_seconds(seconds)


def show_notice(console: Console, notice: str) -> None:
    """Print a notice that must not be overlooked."""
    console.print(Panel(notice, title="Notice", border_style="yellow"))

"""What several commands take: --url, --json, --timeout and KEY=VALUE labels; and the client they lead to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta
from math import isnan
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from shared.clock import from_rfc3339, to_rfc3339
from shared.options import option_help
from shared.settings import load_settings
from shared.status import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from shared.terminal import GivenText, WholeNumber
from web.cli.client import ApiClient
from web.cli.output import Output
from web.jobs.fields import MAX_TIMEOUT_SECONDS, EventName

Command = TypeVar("Command", bound=Callable[..., Any])
#: A key of a label has neither of the separators.
_LABEL = re.compile(r"(?P<key>[^:=]+)[:=](?P<value>.*)", re.DOTALL)
#: A year: nobody waits for longer, and no span without end can be told.
_LONGEST_TIMEOUT_SECONDS = 31_536_000
#: What the id of an uploaded picture begins with where a file might stand.
ASSET = "asset:"
_KEY = re.compile(r"[ -~]{1,255}")
_SPAN = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_NEVER = "never"


class LabelType(click.ParamType[tuple[str, str]]):
    """A label, ``KEY:VALUE``, as a pair; ``KEY=VALUE`` is read as well."""

    name = "KEY:VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return the pair in a word; fail without a separator or without a key."""
        if isinstance(value, tuple):
            return value
        found = _LABEL.fullmatch(str(value))
        if found is None:
            self.fail(f"'{value}' is not of the form KEY:VALUE", param, ctx)
        return found["key"], found["value"]


def asset_id_of(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    """Return the id in ``asset:ID``, or an id alone, as a callback."""
    return text.removeprefix(ASSET)


def asset_ids_of(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids in several of these texts, as a callback."""
    return tuple(text.removeprefix(ASSET) for text in texts)


class PictureType(click.Path):
    """A picture: a file, or ``asset:ID`` for one that was uploaded before, as its id alone."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, readable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's own
        """Return the path of a file as `Path`, the id of an asset as text; fail where there is neither."""
        if isinstance(value, str) and value.startswith(ASSET):
            if not value.removeprefix(ASSET):
                self.fail(f"'{value}' names none: write asset:ID, or ./{value} for a file", param, ctx)
            return value.removeprefix(ASSET)
        return super().convert(value, param, ctx)


class SecondsType(click.FloatRange):
    """A time in seconds; not a number is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """Return the seconds in a word."""
        try:
            float(value)
        except ValueError:
            self.fail(f"'{value}' is no number of seconds", param, ctx)
        seconds = float(super().convert(value, param, ctx))
        if isnan(seconds):
            self.fail(f"'{value}' is no number of seconds", param, ctx)
        return seconds


class KeyType(click.ParamType[str]):
    """An idempotency key: 1 to 255 printable ASCII characters."""

    name = "KEY"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the key; fail for one that no header can carry."""
        key = str(value)
        if not _KEY.fullmatch(key) or key != key.strip():
            self.fail(
                f"{key[:100]!r} is no key: it has 1 to 255 printable ASCII characters, no space at an end",
                param,
                ctx,
            )
        return key


class MomentType(click.ParamType[str]):
    """A moment with its zone, as RFC 3339 writes it."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the moment in a word in UTC; fail for one without a zone."""
        try:
            return to_rfc3339(from_rfc3339(str(value)))
        except (ValueError, OverflowError):
            self.fail(
                f"'{value}' is no moment with its zone, such as 2026-11-23T08:47:41Z or "
                "2026-11-23T09:47:41+01:00",
                param,
                ctx,
            )


class SpanType(click.ParamType[timedelta | None]):
    """A time from now: ``12h``, ``90d``, ``8w``, or ``never``, which is None, where that is allowed."""

    name = "TIME"

    def __init__(self, *, may_be_never: bool = True) -> None:
        self._may_be_never = may_be_never

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta | None:
        """Return the span in a word."""
        found = _SPAN.fullmatch(str(value))
        if found is None and not (self._may_be_never and value == _NEVER):
            words = f"12h, 90d, 8w or {_NEVER}" if self._may_be_never else "12h, 7d or 4w"
            self.fail(f"'{value}' is no time from now, such as {words}", param, ctx)
        return None if found is None else int(found[1]) * _UNITS[found[2]]


def label_option(text: str) -> Callable[[Command], Command]:
    """Add ``--label``, with this help; a key that is given with two values is refused."""

    def as_mapping(
        ctx: click.Context, param: click.Parameter, pairs: tuple[tuple[str, str], ...]
    ) -> dict[str, str]:
        labels: dict[str, str] = {}
        for key, value in pairs:
            if labels.setdefault(key, value) != value:
                raise click.BadParameter(
                    f"{key} is given twice, as '{labels[key]}' and as '{value}'; a job has one", ctx, param
                )
        return labels

    return click.option(
        "--label",
        "labels",
        type=LabelType(),
        multiple=True,
        callback=as_mapping,
        help=text,
    )


def event_option(name: str, text: str) -> Callable[[Command], Command]:
    """Add an option, repeatable, for what a webhook is told of; given to the command as `events`."""
    return click.option(name, "events", type=click.Choice(get_args(EventName)), multiple=True, help=text)


def webhook_options(command: Command) -> Command:
    """Add ``--webhook`` and ``--webhook-event``: an address that is told what becomes of one job."""
    text = "What --webhook is told of; repeatable.  [default: how it ended]"
    command = event_option("--webhook-event", text)(command)
    return click.option(
        "--webhook",
        type=GivenText(),
        metavar="ADDRESS",
        help="An https address that is told what becomes of the job; see 'atelier webhook'.",
    )(command)


def given_webhook(address: str | None, events: tuple[str, ...]) -> dict[str, object]:
    """Return what `webhook_options` gave as a field of a request; nothing where nothing was given.

    Raises:
        UsageError: for events without an address.
    """
    if address is None:
        if events:
            raise click.UsageError("--webhook-event says what --webhook is told of, and there is none")
        return {}
    return {"webhook": {"url": address, **({"events": list(events)} if events else {})}}


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
        type=SecondsType(min=0, max=_LONGEST_TIMEOUT_SECONDS),
        default=60,
        show_default=True,
        metavar="SECONDS",
        help="How long the service may be out of reach before giving up; a restart of it is waited for.",
    )(command)


def timeouts_options(command: Command) -> Command:
    """Add ``--queue-timeout`` and ``--run-timeout``; `given_timeouts` puts them together."""
    seconds = SecondsType(min=0, min_open=True, max=MAX_TIMEOUT_SECONDS)
    command = click.option(
        "--run-timeout",
        type=seconds,
        metavar="SECONDS",
        help="Let the job fail if an attempt runs for longer.",
    )(command)
    return click.option(
        "--queue-timeout",
        type=seconds,
        metavar="SECONDS",
        help="Let the job expire if it has not started by then.",
    )(command)


def given_timeouts(queue_timeout: float | None, run_timeout: float | None) -> dict[str, float]:
    """Return those of the timeouts that were given, by the names of their fields."""
    seconds = {"queue_timeout_seconds": queue_timeout, "run_timeout_seconds": run_timeout}
    return {name: value for name, value in seconds.items() if value is not None}


def priority_option(command: Command) -> Command:
    """Add ``--priority``: where in the queue a job waits; None where nothing is said."""
    return click.option(
        "--priority",
        type=WholeNumber(0, HIGHEST_PRIORITY),
        help=f"{HIGHEST_PRIORITY} goes first, 0 can wait longest; {DEFAULT_PRIORITY} is usual.",
    )(command)


def given_priority(priority: int | None) -> dict[str, object]:
    """Return what `priority_option` gave as a field of a request; nothing where nothing was given."""
    return {} if priority is None else {"priority": priority}


def open_client(url: str | None) -> ApiClient:
    """Return a client of the service at `url`, else at the one that the settings name."""
    settings = load_settings(os.environ)
    return ApiClient(settings.public_url if url is None else url, token=settings.token)


def job_argument(command: Command) -> Command:
    """Add the argument ``ID``: a job's id, or the beginning of one."""
    return click.argument("job_id", metavar="ID")(command)


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

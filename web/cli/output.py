"""Output and exit codes of a command, and the errors that only the command line has."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar

import click
from rich.console import Console

from shared.errors import AtelierError, Fault, Refusal, ServiceError
from shared.status import JobStatus
from shared.terminal import to_json_text

NAMED_IDS = 5


class CliError(Exception):
    """A command cannot do what it was asked to."""

    code: ClassVar[str] = "cli_error"
    suggestion: ClassVar[str | None] = None

    def __init__(self, detail: str, *, faults: tuple[Fault, ...] = ()) -> None:
        self.detail = detail
        self.faults = faults
        super().__init__(detail)

    def to_json(self) -> dict[str, object]:
        """Return the error as ``--json`` shows it: code, detail, suggestion."""
        return {"code": self.code, "detail": self.detail, "suggestion": self.suggestion}


class ServiceUnreachable(CliError):
    """The service cannot be reached."""

    code = "service_unreachable"
    suggestion = "Start it with 'atelier up', or say where it is with --url or ATELIER_URL."


class ConnectionLost(ServiceUnreachable):
    """The service was reached, but no answer came: it may have done what it was asked for, or not."""

    code = "connection_lost"
    suggestion = "See with 'atelier list' what it has done."


class ServiceProblem(CliError):
    """The service refused the request or failed; `status` is the HTTP status, `code` the problem's."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        title: str,
        suggestion: str | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        super().__init__(detail, faults=faults)
        self.status = status
        self.problem_code = code
        self.problem_title = title
        self.problem_suggestion = suggestion

    def to_json(self) -> dict[str, object]:
        """Return the problem as the service put it, with its HTTP status."""
        return {
            "code": self.problem_code,
            "title": self.problem_title,
            "detail": self.detail,
            "status": self.status,
            "suggestion": self.problem_suggestion,
            "errors": [fault.to_json() for fault in self.faults],
        }


class DownloadDamaged(CliError):
    """The downloaded file is not the one that the job made."""

    code = "download_damaged"


class UsageRefused(CliError):
    """What was asked for cannot be done as it was asked."""

    code = "usage_refused"


class TargetRefused(UsageRefused):
    """The picture cannot be written where it is to go."""

    code = "target_refused"


class UnknownId(UsageRefused):
    """No id, or more than one, begins with what was given."""

    code = "unknown_id"


class UpRefused(CliError):
    """The service cannot be started here."""

    code = "up_refused"


class StartFailed(CliError):
    """A process of the service did not start."""

    code = "start_failed"


def only_one(text: str, ids: Sequence[str], *, kind: str) -> str:
    """Return the one of the ids, of jobs for instance, that is a text, or that alone begins with it.

    Raises:
        UnknownId: when there is none, or more than one.
    """
    if not text:
        raise UnknownId(f"an empty text names none of the {kind}")
    if text in ids:
        return text
    begun = [one for one in ids if one.startswith(text)]
    if len(begun) == 1:
        return begun[0]
    if not begun:
        raise UnknownId(f"there are no {kind} whose id begins with '{text}'")
    more = " and more" if len(begun) > NAMED_IDS else ""
    raise UnknownId(f"'{text}' is the beginning of several {kind}: {', '.join(begun[:NAMED_IDS])}{more}")


EXIT_HELP = """\
0  all went well
1  the job failed or expired, or the service or one of its parts failed
2  wrong usage or settings, or the service refused the input
3  the job was canceled
4  the service cannot be reached
130  interrupted with Ctrl-C (a submitted job goes on)"""


class ExitCode(IntEnum):
    """What `atelier` ends with; `EXIT_HELP` says it to people."""

    OK = 0
    FAILED = 1
    REFUSED = 2
    CANCELED = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


def exit_code_of(error: AtelierError | CliError) -> ExitCode:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, ServiceUnreachable):
        return ExitCode.UNREACHABLE
    if isinstance(error, ServiceProblem):
        # 429 asks to come back later: nothing is wrong with the input.
        refused = 400 <= error.status < 500 and error.status != 429
        return ExitCode.REFUSED if refused else ExitCode.FAILED
    if isinstance(error, UsageRefused | Refusal) or (isinstance(error, ServiceError) and not error.retryable):
        # Starting again would change nothing: the settings, or what they name, are wrong.
        return ExitCode.REFUSED
    return ExitCode.FAILED


def exit_code_for(status: JobStatus) -> ExitCode:
    """Return the exit code for the status a followed job ended in."""
    if status is JobStatus.SUCCEEDED:
        return ExitCode.OK
    return ExitCode.CANCELED if status is JobStatus.CANCELED else ExitCode.FAILED


class Output:
    """The two streams of a command; with `as_json`, standard output holds one JSON document, nothing else."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False)
        if not self.out.is_terminal:
            self.out.width = 200  # in a pipe, columns must not be cut to a terminal's width
        self.err = Console(stderr=True, highlight=False)

    def answer(self, document: object, text: str) -> None:
        """Write the command's answer: the document with ``--json``, else the text."""
        click.echo(to_json_text(document) if self.as_json else text)

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
            click.echo(to_json_text({"error": document}))

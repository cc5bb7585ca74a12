"""The exit codes of `atelier`, and which error or job status ends in which."""

from __future__ import annotations

from enum import IntEnum

from shared.errors import AtelierError, InvalidSettings, Refusal
from shared.status import JobStatus
from web.cli.errors import CliError, ServiceProblem, ServiceUnreachable

EXIT_HELP = """\
0  all went well
1  the job failed or expired, or the service or one of its parts failed
2  wrong usage, or the service refused the input
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
    if isinstance(error, Refusal | InvalidSettings):
        return ExitCode.REFUSED
    return ExitCode.FAILED


def exit_code_for(status: JobStatus) -> ExitCode:
    """Return the exit code for the status a followed job ended in."""
    if status is JobStatus.SUCCEEDED:
        return ExitCode.OK
    return ExitCode.CANCELED if status is JobStatus.CANCELED else ExitCode.FAILED

"""The errors of the command line alone; those that a job or an answer can carry are in `shared.errors`."""

from __future__ import annotations

from typing import ClassVar

from shared.errors import Fault


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


class UpRefused(CliError):
    """The service cannot be started here."""

    code = "up_refused"


class StartFailed(CliError):
    """A process of the service did not start."""

    code = "start_failed"

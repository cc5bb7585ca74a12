"""The errors that only the command line has: what a service answered, or that it did not."""

from __future__ import annotations

from shared.errors import AtelierError, Fault


class ServiceUnreachable(AtelierError):
    """The service cannot be reached."""

    code = "service_unreachable"
    retryable = True
    suggestion = "Start it with 'atelier up', or say where it is with --url or ATELIER_URL."


class ServiceProblem(AtelierError):
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


class DownloadDamaged(AtelierError):
    """The downloaded file is not the one that the job made."""

    code = "download_damaged"
    retryable = True


class UpRefused(AtelierError):
    """The service cannot be started here."""

    code = "up_refused"


class StartFailed(AtelierError):
    """A process of the service did not start."""

    code = "start_failed"

"""Handing a job in once, whatever becomes of the connection meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

from shared.terminal import format_seconds, show_notice
from web.cli.client import Submitted
from web.cli.errors import ConnectionLost, ServiceProblem, ServiceUnreachable
from web.cli.output import Output

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


def hand_in(submit: Callable[[], Submitted], *, output: Output, timeout_seconds: float) -> Submitted:
    """Return what `submit` makes; it sends the same Idempotency-Key whenever it is called.

    When the connection is lost before the answer came, nobody knows whether there is a job. Then it is asked
    again, for up to `timeout_seconds`, while the service is away or ill; the key sees to it that there is one
    job. A service that cannot be reached in the first place is not waited for.

    Raises:
        ServiceUnreachable: when the service is not there, or does not come back.
        ServiceProblem: when it refuses.
    """
    try:
        return submit()
    except ConnectionLost as error:
        if not timeout_seconds:
            raise
        show_notice(
            output.err,
            f"{error.detail.rstrip('.')}. Asking again for up to {format_seconds(timeout_seconds)}, with the "
            "same Idempotency-Key: whether the first request arrived or not, there will be one job.",
        )
    return _ask_again(submit, timeout_seconds=timeout_seconds)


def _ask_again(submit: Callable[[], Submitted], *, timeout_seconds: float) -> Submitted:
    since, pause = monotonic(), _FIRST_PAUSE_SECONDS
    while True:
        sleep(pause)
        try:
            return submit()
        except (ServiceUnreachable, ServiceProblem) as error:
            if not _may_pass(error) or monotonic() - since + pause > timeout_seconds:
                raise
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _may_pass(error: ServiceUnreachable | ServiceProblem) -> bool:
    """Whether asking again may help: the service is away or ill, or still busy with the first request."""
    if isinstance(error, ServiceUnreachable):
        return True
    return error.status >= 500 or error.problem_code == "idempotency_key_in_use"

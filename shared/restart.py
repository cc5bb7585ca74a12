"""Whether a process that ended by itself is started again, and when: decided without touching anything."""

from __future__ import annotations

import signal
from dataclasses import dataclass

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_STEADY_SECONDS = 60.0


@dataclass(frozen=True)
class Ending:
    """How a process ended: exit code (negative: a signal), seconds it ran, endings in a row before."""

    code: int
    ran_seconds: float
    earlier: int


@dataclass(frozen=True)
class RestartDecision:
    """What follows: start again after `delay_seconds`, never when None; `earlier` for the next ending."""

    delay_seconds: float | None
    earlier: int


def decide_restart(ending: Ending, *, final_codes: frozenset[int] = frozenset()) -> RestartDecision:
    """Decide about a process that ended without being asked to.

    The delay doubles from 0.5 s to 30 s, and starts anew after a minute without an ending. `final_codes` are
    exit codes by which a program says that starting it again would change nothing.
    """
    if ending.code in final_codes:
        return RestartDecision(None, ending.earlier)
    earlier = 0 if ending.ran_seconds >= _STEADY_SECONDS else ending.earlier
    delay = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2 ** min(earlier, 16))
    return RestartDecision(delay, earlier + 1)


def describe_code(code: int) -> str:
    """Return an exit code as people say it: ``exit code 1``, ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"

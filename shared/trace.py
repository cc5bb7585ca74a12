"""W3C trace context: which request a job comes from, so that logs of all processes can be put together.

A `traceparent` is `00-TRACE-PARENT-FLAGS`: 32 hex digits that all parts of one trace have in common, 16 of
the part that goes on, and 2 of flags. A job has the trace of the request that submitted it; its attempts, its
reports and what is logged of it have the same one, on whichever machine.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator

#: The header of a request, and of a message in the broker: a field of the message itself the first release's
#: nodes would refuse.
TRACE_HEADER = "traceparent"
_VERSION = "00"
_LONGEST = 512
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
#: Recorded: who made it up wants to see it.
_RECORDED = "01"


def read_traceparent(text: object) -> str | None:
    """Return a traceparent that somebody sent, in the form of version 00; None where it is none.

    A later version may have more at its end: of that the first four parts are taken, as the standard says.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "ff" or (version == _VERSION and more is not None):
        return None
    if not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    return f"{_VERSION}-{trace_id}-{parent_id}-{flags}"


def new_traceparent() -> str:
    """Return a traceparent of a trace that begins now."""
    return f"{_VERSION}-{_random(16)}-{_random(8)}-{_RECORDED}"


def go_on(traceparent: str | None) -> str:
    """Return a traceparent for the next part of a trace; of a new one where there is none."""
    known = read_traceparent(traceparent)
    if known is None:
        return new_traceparent()
    _, trace_id, _, flags = known.split("-")
    return f"{_VERSION}-{trace_id}-{_random(8)}-{flags}"


def trace_id_of(traceparent: object) -> str | None:
    """Return the 32 hex digits of a trace, as logs name it; None where there is none."""
    known = read_traceparent(traceparent)
    return None if known is None else known.split("-")[1]


def trace_facts(traceparent: object) -> Mapping[str, str]:
    """Return what a line of a log says of a trace: nothing where there is none."""
    trace_id = trace_id_of(traceparent)
    return {} if trace_id is None else {"trace_id": trace_id}


def _random(count: int) -> str:
    while True:
        digits = secrets.token_hex(count)
        if digits.strip("0"):  # all zeros are no id
            return digits


#: In a model: what is none is left out, whatever it is.
Traceparent = Annotated[str | None, BeforeValidator(read_traceparent)]

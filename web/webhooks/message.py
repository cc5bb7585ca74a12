"""A message: its body, its signature, and when it is tried again.

Signed as https://www.standardwebhooks.com has it: `webhook-signature` is HMAC-SHA256 over id, time and body,
one for each secret that is valid, so that secrets can be changed without a gap.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.clock import to_rfc3339

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
_SECRET_BYTES = 32
#: How long after an attempt that failed the next one is, in seconds; the last holds for all that follow.
BACKOFF_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14400)
#: Each is this much longer or shorter, so that what failed together is not tried together.
JITTER = 0.2
#: How long after an attempt, by its number, the next one is at most, if the receiver asks for no more time.
LONGEST_WAITS = {
    number: timedelta(seconds=seconds * (1 + JITTER))
    for number, seconds in enumerate(BACKOFF_SECONDS, start=1)
}
#: Nothing is tried again later than this.
LONGEST_WAIT = max(LONGEST_WAITS.values())
#: A receiver that asks for more time gets no more than this.
_LONGEST_ASKED = timedelta(hours=1)
GONE = 410


class State(StrEnum):
    """How far a message is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    #: It was tried until its time was over.
    FAILED = "failed"
    #: Its receiver has said that it is gone, or its webhook was taken away.
    DROPPED = "dropped"


@dataclass(frozen=True)
class Answer:
    """What came of an attempt: the receiver's answer, or why there is none."""

    status: int | None = None
    error: str | None = None
    #: The first 1 kB of the body, as text.
    text: str = ""
    #: How long the receiver asks to be left alone.
    retry_after_seconds: float | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has taken the message."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True)
class NextStep:
    """What becomes of a message after an attempt; `ends_webhook`: its receiver wants no more of any."""

    state: State
    next_at: datetime | None = None
    ends_webhook: bool = False


def decide_next(
    answer: Answer, *, attempt: int, until: datetime, is_once: bool, now: datetime, chance: float
) -> NextStep:
    """Decide about a message after an attempt.

    Args:
        answer: What came of it.
        attempt: The number of this attempt, from 1.
        until: When it is given up.
        is_once: Whether it is tried only once: a newer one of its kind tells more.
        now: The present.
        chance: From 0 to 1, at random.
    """
    if answer.is_taken:
        return NextStep(State.DELIVERED)
    if answer.status == GONE:
        return NextStep(State.DROPPED, ends_webhook=True)
    usual = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS)) - 1] * (1 + JITTER * (2 * chance - 1))
    asked = min(timedelta(seconds=answer.retry_after_seconds or 0), _LONGEST_ASKED)
    next_at = now + max(timedelta(seconds=usual), asked)
    if is_once or next_at > until:
        return NextStep(State.FAILED)
    return NextStep(State.PENDING, next_at)


def make_secret() -> str:
    """Return a new secret, as it is shown."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def make_body(event: str, job: Mapping[str, Any], *, at: datetime) -> str:
    """Return the body of a message: the event, its moment, and the job as the API shows it."""
    return json.dumps({"type": event, "timestamp": to_rfc3339(at), "data": job}, separators=(",", ":"))


def sign(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message with one secret; `timestamp` is in seconds since 1970."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers_of(valid: Sequence[str], *, message_id: str, at: datetime, body: bytes) -> list[tuple[str, str]]:
    """Return the header fields of an attempt at a moment, signed with all valid secrets."""
    timestamp = int(at.timestamp())
    signatures = [sign(secret, message_id=message_id, timestamp=timestamp, body=body) for secret in valid]
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(signatures)),
        ("content-type", "application/json"),
    ]

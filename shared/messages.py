"""The message from the dispatcher to a worker: a hint that an attempt is due."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import UnreadableMessage
from shared.options import StyleOptions


class InputPicture(BaseModel):
    """One input of a job: where it is stored, and the SHA-256 its bytes must have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    sha256: str


class Origin(BaseModel):
    """The checkpoint that a forked or extended job begins with, whatever options it was made with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    sha256: str
    step: int


class JobMessage(BaseModel):
    """What a worker is told: which attempt of which job, on what, and how.

    `checkpoints_since` is the first attempt whose checkpoints count: a retry from zero counts none before it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    job_id: str
    attempt: int
    content: InputPicture
    style: InputPicture
    options: StyleOptions
    checkpoints_since: int = 1
    origin: Origin | None = None
    run_timeout_seconds: float | None = None

    @property
    def message_id(self) -> str:
        """The broker's id for it: the same attempt always has the same."""
        return message_id(self.job_id, self.attempt)


def message_id(job_id: str, attempt: int) -> str:
    """Return the broker's id for the message of an attempt."""
    return f"{job_id}:{attempt}"


def read_message(values: dict[str, Any]) -> JobMessage:
    """Return the message in a JSON object.

    Raises:
        UnreadableMessage: when it is of another version or damaged.
    """
    try:
        return JobMessage.model_validate(values)
    except ValidationError as error:
        raise UnreadableMessage(f"job message cannot be read: {error}") from error

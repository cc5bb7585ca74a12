"""The durable events that a worker reports; the projector applies each exactly once."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import UnreadableMessage


class EventType(StrEnum):
    """What a worker can report."""

    #: data: worker_id, device, weights {name, sha256, notice}, engine_version, resumed_from_step
    CLAIMED = "claimed"
    #: data: step, steps, key, picture_key, sha256, losses {total, content, style}, and the curve: one list
    #: [step, total, content, style] for each step since the checkpoint before
    CHECKPOINTED = "checkpointed"
    #: data: the result marker (see shared.result)
    SUCCEEDED = "succeeded"
    #: data: error {code, title, detail, retryable, suggestion}
    FAILED = "failed"
    #: data: step
    CANCELED = "canceled"
    #: Checkpointed, and the device given free. data: step
    PAUSED = "paused"
    #: The worker is shutting down and gave the attempt back. data: step
    RELEASED = "released"


class WorkerEvent(BaseModel):
    """One report. `event_id` is derived from what happened, so that a repeated report is known as one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    event_id: str
    type: EventType
    job_id: str
    attempt: int
    at: datetime
    data: dict[str, Any]


def read_event(text: str) -> WorkerEvent:
    """Return the event in a JSON text.

    Raises:
        UnreadableMessage: when it is of another version or damaged.
    """
    try:
        return WorkerEvent.model_validate_json(text)
    except ValidationError as error:
        raise UnreadableMessage(f"worker event cannot be read: {error}") from error

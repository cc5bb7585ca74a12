"""The heartbeat of control: which part it is at, what goes wrong there, and what it has set aside."""

from __future__ import annotations

import redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.logs import get_logger
from shared.protocol import Moment
from shared.redis.connection import redis_errors
from shared.redis.names import Names

_log = get_logger(__name__)
#: How often control beats, and how long it may be silent before it counts as down.
BEAT_SECONDS = 1.0
_KEEP_SECONDS = 5
#: No part takes this long while all is well: reports come in groups, and the rest is bounded by a batch.
_STUCK_SECONDS = 20.0
#: The parts without which no job is started, or none is recorded.
STARTING_PARTS = ("reports", "dispatch")


class ControlBeat(BaseModel):
    """What control says of itself.

    `part_seconds` is how long it has been at `part`, by its own clock. `faults` has a sentence for each part
    whose last run failed. `skipped` counts the items that could not be read or acted on since the start.
    """

    model_config = ConfigDict(frozen=True)

    version: str = ""
    build: str = ""
    started_at: Moment
    at: Moment
    part: str | None = None
    part_seconds: float = Field(0, ge=0, allow_inf_nan=False)
    faults: dict[str, str] = Field(default_factory=dict)
    skipped: int = Field(0, ge=0)


class ControlBoard:
    """Where control beats, and web looks. Every method raises `RedisUnavailable` without Redis."""

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._client = client
        self._key = names.key("control")

    def beat(self, beat: ControlBeat) -> None:
        """Store a heartbeat; it is gone after 5 s."""
        with redis_errors():
            self._client.set(self._key, beat.model_dump_json(), ex=_KEEP_SECONDS)

    def leave(self) -> None:
        """Remove the heartbeat of a control that ends."""
        with redis_errors():
            self._client.delete(self._key)

    def read(self) -> ControlBeat | None:
        """Return the last heartbeat; None when control is down."""
        with redis_errors():
            # Not GET: that fails on a key of another type, and MGET takes it for none.
            text = self._client.mget([self._key])[0]
        try:
            return None if text is None else ControlBeat.model_validate_json(text)
        except (ValidationError, UnicodeError) as error:
            _log.warning("control_beat_unreadable", reason=str(error))
            return None


def control_fault(beat: ControlBeat | None, *, keeps_jobs_waiting: bool = False) -> str | None:
    """Return what is wrong with control, in one sentence; None when all is well.

    With `keeps_jobs_waiting` only what keeps jobs from being started or recorded.
    """
    if beat is None:
        return "control is not running: jobs are kept, and none starts; start it with: atelier control"
    if beat.part is not None and beat.part_seconds > _STUCK_SECONDS:
        return (
            f"control has been at '{beat.part}' for {beat.part_seconds:.0f} s and may be stuck; "
            "look at its log, and restart it"
        )
    for part, sentence in sorted(beat.faults.items()):
        if part in STARTING_PARTS or not keeps_jobs_waiting:
            return f"control fails at '{part}': {sentence}"
    return None

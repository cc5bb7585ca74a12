"""The protocol: ids, messages, events and the result marker: all that crosses the wire, with its version.

`version` is the major one. A reader ignores fields that it does not know: they are of a younger release with
the same major version. A field may only be added with a default that means what was done before it existed,
and a message tells it only where it says something else: so releases work beside each other.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeGuard

import uuid6
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from shared.errors import ArtifactCorrupt, InvalidOptions, UnreadableMessage
from shared.options import StyleOptions, read_stored_options
from shared.trace import Traceparent, read_traceparent

#: What this release understands, counted up whenever nodes have to do something new. 0 is a node that only
#: beats, 1 one that drains when it is asked to; 2 says its protocol and build, and ignores unknown fields;
#: 3 says which methods it serves; 4 says its numerics, and goes on with no job that asks for other ones.
PROTOCOL = 4
DRAIN_PROTOCOL = 1
METHODS_PROTOCOL = 3
NUMERICS_PROTOCOL = 4


#: No job gets this far: a higher attempt was not counted by us.
MAX_ATTEMPT = 10_000_000
#: A report has some kilobytes: most of it is the losses of at most a thousand steps.
_MOST_CHARACTERS = 4_000_000
_MOST_TEXT = 10_000
#: A machine without a battery begins in 1970, and is set right some seconds later.
_FIRST_MOMENT, _LAST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _check_moment(moment: datetime) -> datetime:
    if not _FIRST_MOMENT <= moment <= _LAST_MOMENT:
        raise ValueError(f"{moment} is no time at which this was written")
    return moment


def is_message_id(found: object) -> TypeGuard[str]:
    """Whether something is fit to be the id of a message: anything else no database could be asked for."""
    return isinstance(found, str) and found.isascii() and found.isprintable() and len(found) <= _LONGEST_ID


def _check_id(text: str) -> str:
    if not is_message_id(text) or not text or "/" in text or text in (".", ".."):
        raise ValueError("it is no id")
    return text


def _check_key(key: str) -> str:
    parts = key.split("/")
    if not key.isprintable() or len(key) > _LONGEST_KEY or not all(parts) or {".", ".."} & set(parts):
        raise ValueError("it is no key of a file")
    return key


def _keep_plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave out of some facts what is neither a short text nor a number: it is of no release that we know."""
    return {
        name[:_LONGEST_ID]: value
        for name, value in list(facts.items())[:_MOST_FACTS]
        if value is None
        or (isinstance(value, str) and len(value) <= _MOST_TEXT)
        or (isinstance(value, int) and abs(value) <= 2**53)
        or (isinstance(value, float) and math.isfinite(value))
    }


_LONGEST_ID, _LONGEST_KEY, _MOST_FACTS = 200, 500, 50
#: What others may write into numbers, words and times: nothing that a database, a page or a sum chokes on.
Count = Annotated[int, Field(ge=0, le=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=1000)]
Moment = Annotated[AwareDatetime, AfterValidator(_check_moment)]
#: The words of an error may be many; the first of them tell.
Text = Annotated[str, AfterValidator(lambda text: text[:_MOST_TEXT])]
Facts = Annotated[dict[str, Any], AfterValidator(_keep_plain)]
JobId = Annotated[str, AfterValidator(_check_id)]
#: The key of a file in the storage.
Key = Annotated[str, AfterValidator(_check_key)]
AttemptNumber = Annotated[int, Field(ge=1, le=MAX_ATTEMPT)]


def new_id() -> str:
    """Return a new id, 36 characters."""
    return str(uuid6.uuid7())


def _read_options(value: object) -> object:
    if isinstance(value, StyleOptions):
        return value
    try:
        return read_stored_options(value)
    except InvalidOptions as error:
        raise ValueError(error.detail) from None


class InputPicture(BaseModel):
    """One input of a job: where it is stored, and the SHA-256 its bytes must have."""

    model_config = ConfigDict(frozen=True)

    key: Key
    sha256: Word


class Origin(BaseModel):
    """The checkpoint that a forked or extended job begins with, whatever options it was made with."""

    model_config = ConfigDict(frozen=True)

    key: Key
    sha256: Word
    step: Count


class JobMessage(BaseModel):
    """What a worker is told: which attempt of which job, on what, and how.

    `checkpoints_since` is the first attempt whose checkpoints count: a retry from zero counts none before it.
    `least_protocol` is what a node has to understand to carry it out rightly. `numerics` is under which alone
    a node is to go on with it; without, any may. `traceparent` travels in the header of the message in the
    broker, beside what `to_json` returns: nodes of the first release refuse a field that they do not know.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    job_id: JobId
    attempt: AttemptNumber
    content: InputPicture
    style: InputPicture
    options: Annotated[StyleOptions, BeforeValidator(_read_options)]
    checkpoints_since: Count = 1
    origin: Origin | None = None
    run_timeout_seconds: Number | None = None
    least_protocol: int = 1
    numerics: Word | None = None
    traceparent: Traceparent = None

    @property
    def message_id(self) -> str:
        """The broker's id for it: the same attempt always has the same."""
        return message_id(self.job_id, self.attempt)

    @property
    def task_sha256(self) -> str:
        """The SHA-256 of what is to be done, as control and workers both know it: inputs, options, origin."""
        names = set(self.options.told_names - {"checkpoint_every"})
        parts = {
            "content": self.content.sha256,
            "style": self.style.sha256,
            "options": self.options.model_dump(mode="json", include=names),
            "origin": self.origin.sha256 if self.origin else None,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the message: what has its default is left out, for older readers."""
        values = self.model_dump(mode="json", exclude_defaults=True, exclude={"traceparent"})
        options = self.options.model_dump(mode="json", include=set(self.options.told_names))
        return {"version": self.version, **values, "options": options}


def message_id(job_id: str, attempt: int) -> str:
    """Return the broker's id for the message of an attempt."""
    return f"{job_id}:{attempt}"


def asked_protocol(values: Mapping[str, Any]) -> int:
    """Return the protocol that a job message asks for, whatever else it holds: 1 where it does not say."""
    asked = values.get("least_protocol", 1)
    return asked if isinstance(asked, int) else 1


def asked_numerics(values: Mapping[str, Any]) -> str | None:
    """Return the numerics that a job message asks for, whatever else it holds; None without."""
    asked = values.get("numerics")
    return asked if isinstance(asked, str) else None


def read_message(values: dict[str, Any], *, traceparent: object = None) -> JobMessage:
    """Return the message in a JSON object; `traceparent` is what its header in the broker has of a trace.

    Raises:
        UnreadableMessage: when it is damaged, of another major version, or for younger nodes only.
    """
    try:
        message = JobMessage.model_validate(values)
    except ValidationError as error:
        raise UnreadableMessage(f"job message cannot be read: {error}") from error
    if message.least_protocol > PROTOCOL:
        raise UnreadableMessage(
            f"job message asks for protocol {message.least_protocol}; this node understands {PROTOCOL}"
        )
    return message.model_copy(update={"traceparent": read_traceparent(traceparent)})


#: All that lists, pages, terminals and pictures say of a network that was never trained; `/docs` explains it.
UNTRAINED = "untrained weights"


class EventType(StrEnum):
    """What a worker can report."""

    #: data: worker_id, device, weights {name, sha256, notice}, engine_version, resumed_from_step, numerics,
    #: exact (whether it goes on with the same numerics, if it goes on with anything)
    CLAIMED = "claimed"
    #: data: step, steps, key, picture_key, sha256, losses {total, content, style}, and the curve: one list
    #: [step, total, content, style] for each step since the checkpoint before; numerics
    CHECKPOINTED = "checkpointed"
    #: data: the result marker (see shared.protocol)
    SUCCEEDED = "succeeded"
    #: data: error {code, title, detail, retryable, suggestion}
    FAILED = "failed"
    #: data: step
    CANCELED = "canceled"
    #: Checkpointed, and the device given free. data: step
    PAUSED = "paused"
    #: The worker gave the attempt back. data: step; and where it is not because it was shut down, either
    #: fault (code, title, detail, retryable, suggestion, worker: it failed in a way that may be this node's
    #: alone) or reason (text: the node cannot go on, and that is not the job's doing).
    RELEASED = "released"


class WorkerEvent(BaseModel):
    """One report. `event_id` is derived from what happened, so that a repeated report is known as one.

    `traceparent` is that of the message, if it had one; without, its JSON is as the first release reads it.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    event_id: Word
    type: EventType
    job_id: Word
    attempt: Count
    at: Moment
    data: dict[str, Any]
    traceparent: Traceparent = None

    def to_json(self) -> str:
        """Return the JSON text of the event; a trace that is not there is left out."""
        return self.model_dump_json(exclude={"traceparent"} if self.traceparent is None else None)


def read_event(text: str) -> WorkerEvent:
    """Return the event in a JSON text; its data has all that its type asks for, of the right types.

    Raises:
        UnreadableMessage: when it is of another version or damaged.
    """
    if len(text) > _MOST_CHARACTERS:
        raise UnreadableMessage(f"worker event cannot be read: it has {len(text)} characters")
    try:
        event = WorkerEvent.model_validate_json(text)
        data = _EVENT_DATA[event.type].model_validate(event.data)
    except (ValidationError, UnicodeError) as error:
        raise UnreadableMessage(f"worker event cannot be read: {error}") from error
    read = data.model_dump(mode="json", include=data.model_fields_set)
    return event.model_copy(update={"data": event.data | read})


class Output(BaseModel):
    """One file of a result."""

    model_config = ConfigDict(frozen=True)

    name: Word
    key: Key
    content_type: Word
    size_bytes: Count
    sha256: Word
    width: Count
    height: Count


class ResultMarker(BaseModel):
    """All that is to be known of a successful attempt, so that a lost report can be repaired from it.

    A file's place says only which attempt wrote it, and a restored database counts attempts anew.
    `fingerprint` (see `worker.checkpoint`), `task_sha256` and `steps` say what it is the result of; markers
    of the first release lack them. `numerics` say how it was computed, `exact` whether all of it was;
    those of releases before protocol 4 lack these.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    job_id: Word
    attempt: Count
    completed_at: Moment
    step: Count
    losses: dict[str, Number]
    outputs: list[Output]
    weights: Facts
    engine_version: Word
    run_seconds: Number
    gpu_peak_bytes: Count | None = None
    fingerprint: Word | None = None
    task_sha256: Word | None = None
    steps: Count | None = None
    numerics: Word | None = None
    exact: bool | None = None

    def mismatch(self, message: JobMessage, *, fingerprint: str | None = None) -> str | None:
        """Return in words why this is no result of what a message asks for; None when it is one.

        Control knows no fingerprint. What the marker does not tell is not compared.
        """
        if (self.job_id, self.attempt) != (message.job_id, message.attempt):
            return f"it is of attempt {self.attempt} of job {self.job_id}"
        steps = self.step if self.steps is None else self.steps
        if (self.step, steps) != (message.options.steps, message.options.steps):
            return f"it is of step {self.step} of {steps}; the job has {message.options.steps} steps"
        if self.task_sha256 is not None and self.task_sha256 != message.task_sha256:
            return "it is of other inputs, options, or another origin"
        if None not in (fingerprint, self.fingerprint) and self.fingerprint != fingerprint:
            return "it is of other weights or another engine version"
        return None


def read_marker(data: bytes) -> ResultMarker:
    """Return the marker in a file's bytes.

    Raises:
        ArtifactCorrupt: when it is of another version or damaged.
    """
    try:
        return ResultMarker.model_validate_json(data)
    except (ValidationError, UnicodeError) as error:
        raise ArtifactCorrupt(f"result.json cannot be read: {error}") from error


class _Claimed(BaseModel):
    worker_id: Word
    device: Word
    weights: Facts
    engine_version: Word
    resumed_from_step: Count | None = None
    numerics: Word | None = None
    exact: bool | None = None


class _Checkpointed(BaseModel):
    step: Count
    steps: Count
    key: Key
    picture_key: Key
    sha256: Word
    losses: dict[str, Number]
    #: A worker of the first versions sends none.
    curve: list[Annotated[list[Number], Field(min_length=4)]] = []
    #: How large the file of the state is; older workers do not tell.
    state_bytes: Count | None = None
    numerics: Word | None = None


class _Succeeded(BaseModel):
    step: Count
    losses: dict[str, Number]
    outputs: list[Output]
    weights: Facts
    engine_version: Word
    run_seconds: Number
    gpu_peak_bytes: Count | None = None
    numerics: Word | None = None
    exact: bool | None = None


class _Error(BaseModel):
    code: Word
    title: Text = ""
    detail: Text = ""
    retryable: bool = False
    suggestion: Text | None = None


class _Failed(BaseModel):
    error: _Error


class _Stopped(BaseModel):
    step: Count = 0


class _Fault(_Error):
    worker: Word


class _Released(_Stopped):
    fault: _Fault | None = None
    reason: Text | None = None


_EVENT_DATA: Mapping[EventType, type[BaseModel]] = MappingProxyType(
    {
        EventType.CLAIMED: _Claimed,
        EventType.CHECKPOINTED: _Checkpointed,
        EventType.SUCCEEDED: _Succeeded,
        EventType.FAILED: _Failed,
        EventType.CANCELED: _Stopped,
        EventType.PAUSED: _Stopped,
        EventType.RELEASED: _Released,
    }
)

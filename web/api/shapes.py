"""The shapes of the answers, other than jobs; the OpenAPI document is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema

from shared.clock import to_rfc3339

Moment = Annotated[
    datetime,
    PlainSerializer(to_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T08:47:41.120Z"]}),
]
#: Every option; `web.docs.document` turns x-ref into a reference.
Options = Annotated[dict[str, Any], WithJsonSchema({"x-ref": "StyleOptions"})]


class AssetOut(BaseModel):
    """An uploaded picture."""

    id: str
    sha256: str
    filename: str
    content_type: str
    size_bytes: int
    width: int = Field(description="Pixels, as people see the picture (EXIF orientation applied)")
    height: int = Field(description="Pixels")
    created_at: Moment
    url: str = Field(description="Where its bytes are")


class CheckpointOut(BaseModel):
    """A checkpoint."""

    step: int
    attempt: int
    losses: dict[str, float | None]
    curve: list[list[float]] = Field(
        description="[step, total, content, style] of each step since the checkpoint before"
    )
    sha256: str = Field(description="Of its state, from which a job resumes")
    created_at: Moment
    url: str = Field(description="Where its picture is")


class CheckpointsOut(BaseModel):
    """All checkpoints of a job, by step."""

    checkpoints: list[CheckpointOut]


class AttemptOut(BaseModel):
    """One attempt of a job."""

    number: int
    worker_id: str | None
    device: str | None
    resumed_from_step: int | None
    started_at: Moment | None
    ended_at: Moment | None
    outcome: str | None = Field(description="null while it is under way")


class AttemptsOut(BaseModel):
    """All attempts of a job, first to last."""

    attempts: list[AttemptOut]


class FaultOut(BaseModel):
    """One fault in a request."""

    pointer: str = Field(description="JSON pointer to it, such as /options/steps")
    code: str
    detail: str


class ProblemOut(BaseModel):
    """A problem as RFC 9457 has it, with a stable code."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What was measured and what is allowed")
    instance: str
    code: str
    errors: list[FaultOut]
    suggestion: str | None = None


class HealthOut(BaseModel):
    """A sign of life."""

    status: str


class CheckOut(BaseModel):
    """One part of the service."""

    ok: bool
    detail: str | None = None


class ReadinessOut(BaseModel):
    """Whether jobs are taken; degraded means that they are, but do not start for now."""

    ready: bool
    degraded: bool
    checks: dict[str, CheckOut]

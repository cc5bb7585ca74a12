"""The commit marker: written once, after everything else of a successful attempt, as ``result.json``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import ArtifactCorrupt


class Output(BaseModel):
    """One file that a job hands out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str
    content_type: str
    size_bytes: int
    sha256: str
    width: int
    height: int


class ResultMarker(BaseModel):
    """All that is to be known of a successful attempt, so that a lost report can be repaired from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    job_id: str
    attempt: int
    completed_at: datetime
    step: int
    losses: dict[str, float]
    outputs: list[Output]
    weights: dict[str, Any]
    engine_version: str
    run_seconds: float
    gpu_peak_bytes: int | None = None


def read_marker(data: bytes) -> ResultMarker:
    """Return the marker in a file's bytes.

    Raises:
        ArtifactCorrupt: when it is of another version or damaged.
    """
    try:
        return ResultMarker.model_validate_json(data)
    except ValidationError as error:
        raise ArtifactCorrupt(f"result.json cannot be read: {error}") from error

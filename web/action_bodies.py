"""What may be said with an action: how to retry, how far to extend, what to change in a fork."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from web.job_fields import JobFields


class RetryBody(BaseModel):
    """Where a retry begins."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    start: Literal["checkpoint", "zero"] = Field(
        "checkpoint", alias="from", description="The last checkpoint, or nothing but the pictures"
    )


class ExtendBody(BaseModel):
    """How much longer."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    steps: int = Field(ge=1, description="How many steps more; all together as many as a job may have")


class ForkBody(JobFields):
    """A new job that begins with a checkpoint; what is not given is the parent's."""

    step: int = Field(ge=1, description="A step of which the parent keeps a checkpoint")
    options: Annotated[Any, WithJsonSchema({"x-ref": "StyleOptions"})] = Field(
        default_factory=dict,
        description="What is to be different. `size` cannot be, and `steps` must be more than `step`",
    )

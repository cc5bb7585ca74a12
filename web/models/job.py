"""A job, and its labels."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.status import JobStatus
from web.models.asset import Asset
from web.models.base import Base


class Job(Base):
    """The truth about a job. `version` is the number of its last event; `attempt` fences old workers off."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status_created_at", "status", "created_at"),
        Index("ix_jobs_caller_id", "caller", "id"),
        # The gallery: one status in order, and counts of all.
        Index("ix_jobs_caller_status_id", "caller", "status", "id"),
        # The last ones that succeeded, for every estimate; those that ended long ago, for the pruner.
        Index("ix_jobs_status_completed_at", "status", "completed_at"),
        # The one that was started last, whose weights and engine tell what may be reused.
        Index("ix_jobs_started_at", "started_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    caller: Mapped[str]
    name: Mapped[str]
    status: Mapped[str]
    status_reason: Mapped[str | None]
    version: Mapped[int]
    attempt: Mapped[int]
    #: How many workers may be lost since somebody last asked for the job.
    max_attempts: Mapped[int]
    lost_workers: Mapped[int] = mapped_column(default=0, server_default="0")
    #: The first attempt whose checkpoints may be resumed from.
    checkpoints_since: Mapped[int] = mapped_column(default=1, server_default="1")
    #: job_id, step, key, sha256 of the checkpoint that a forked or extended job begins with.
    origin: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    #: SHA-256 of all that decides the result but weights and engine version.
    work_sha256: Mapped[str | None] = mapped_column(index=True)
    #: The job with the same work that this one waits for, or whose result it was given.
    leader_id: Mapped[str | None] = mapped_column(index=True)
    #: A job still queued at this moment expires.
    queue_deadline: Mapped[datetime | None]
    run_timeout_seconds: Mapped[float | None]
    priority: Mapped[int] = mapped_column(default=0)
    batch_id: Mapped[str | None] = mapped_column(index=True)
    content_asset_id: Mapped[str] = mapped_column(ForeignKey("assets.id"), index=True)
    style_asset_id: Mapped[str] = mapped_column(ForeignKey("assets.id"), index=True)
    options: Mapped[dict[str, Any]]
    #: name, sha256, notice of the weights in use; known from the claim on.
    weights: Mapped[dict[str, Any] | None]
    engine_version: Mapped[str | None]
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    #: When the message of this attempt was put into the broker; empty means it is still to be put there.
    dispatched_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    worker_id: Mapped[str | None]
    device: Mapped[str | None]
    resumed_from_step: Mapped[int | None]
    #: The last step that is known for certain, and the losses there.
    step: Mapped[int] = mapped_column(default=0)
    losses: Mapped[dict[str, Any] | None]
    outputs: Mapped[list[dict[str, Any]]]
    error: Mapped[dict[str, Any] | None]
    metrics: Mapped[dict[str, Any]]

    content: Mapped[Asset] = relationship(foreign_keys=content_asset_id, lazy="joined")
    style: Mapped[Asset] = relationship(foreign_keys=style_asset_id, lazy="joined")
    labels: Mapped[list[JobLabel]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, lazy="selectin", order_by="JobLabel.key"
    )

    @property
    def job_status(self) -> JobStatus:
        """The status as its type."""
        return JobStatus(self.status)


class JobLabel(Base):
    """One label of a job: a key and a value that the caller chose."""

    __tablename__ = "job_labels"
    __table_args__ = (Index("ix_job_labels_key_value", "key", "value"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]

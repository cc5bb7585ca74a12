"""What happened to a job: its events, attempts and checkpoints, and the reports already applied."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from web.models.base import Base


class JobEvent(Base):
    """One entry of a job's history, never changed: `sequence` counts from 1 and is the event stream's id."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    #: status, attempt, checkpoint or output
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class JobAttempt(Base):
    """One attempt: who carried it out, from which step on, and how it ended (empty while it runs)."""

    __tablename__ = "job_attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str | None]
    device: Mapped[str | None]
    resumed_from_step: Mapped[int | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]


class JobCheckpoint(Base):
    """One checkpoint: where its state and its picture lie, and the losses of its step and those before."""

    __tablename__ = "job_checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    key: Mapped[str]
    picture_key: Mapped[str]
    sha256: Mapped[str]
    losses: Mapped[dict[str, Any]]
    #: [step, total, content, style] of each step since the checkpoint before it in the same attempt.
    curve: Mapped[list[list[float]]] = mapped_column(default=list, server_default="[]")
    created_at: Mapped[datetime]


class InboxEntry(Base):
    """The id of a report that is applied: the same report again changes nothing."""

    __tablename__ = "inbox"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(index=True)

"""The tables of webhooks: who is told of what, the secrets that sign messages, and the messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from web.db.models import Base, StoredJson

#: What is still to be sent.
PENDING_WORDS = "state = 'pending'"


class WebhookRow(Base):
    """An address that is told of events: of all of a caller's jobs by a name, or of one job by its id."""

    __tablename__ = "webhooks"
    __table_args__ = (
        UniqueConstraint("caller", "name"),
        Index("ix_webhooks_caller_job_id", "caller", "job_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    caller: Mapped[str]
    #: Empty of one job's.
    name: Mapped[str | None]
    job_id: Mapped[str | None]
    #: Empty where only its secrets are wanted, for the addresses that jobs bring.
    url: Mapped[str | None]
    #: Names of `web.webhooks.outbox.Event`, with spaces between.
    events: Mapped[str]
    created_at: Mapped[datetime]
    #: When its receiver said that it is gone; nothing more is sent to it.
    ended_at: Mapped[datetime | None]


class WebhookSecretRow(Base):
    """A secret of a webhook that has a name. Signing needs its text, so that is what is stored."""

    __tablename__ = "webhook_secrets"

    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    secret: Mapped[str]
    created_at: Mapped[datetime]
    #: One that another has replaced is of use until then.
    expires_at: Mapped[datetime | None]


class Delivery(Base):
    """One message to one webhook. It comes in the transaction of what it tells of, and stays as a log."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_caller_id", "caller", "id"),
        Index(
            "ix_deliveries_pending",
            *("receiver", "next_at"),
            sqlite_where=text(PENDING_WORDS),
            postgresql_where=text(PENDING_WORDS),
        ),
        Index("ix_deliveries_state_created_at", "state", "created_at"),
    )

    #: The receiver sees it as `webhook-id`, the same each time.
    id: Mapped[str] = mapped_column(primary_key=True)
    caller: Mapped[str]
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    #: Scheme, host and port of its address: one that is slow delays no other.
    receiver: Mapped[str]
    #: The job may be gone before the message is sent, or long after.
    job_id: Mapped[str] = mapped_column(index=True)
    job_version: Mapped[int]
    event: Mapped[str]
    created_at: Mapped[datetime]
    #: The job's row at that moment; see `web.webhooks.outbox.take_snapshot`. Empty once there is a body.
    snapshot: Mapped[dict[str, Any] | None] = mapped_column(StoredJson(none_as_null=True))
    #: What is sent, byte for byte the same each time.
    body: Mapped[str | None]
    #: pending, delivered, failed, or dropped: its webhook was told to be gone
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    #: When it is tried next; empty when it is not.
    next_at: Mapped[datetime | None]
    #: Until when it is tried again.
    until: Mapped[datetime]


class DeliveryAttempt(Base):
    """One attempt to send a message: what the receiver answered, or what went wrong."""

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[str] = mapped_column(
        ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    seconds: Mapped[float]
    status: Mapped[int | None]
    error: Mapped[str | None]
    #: The first 1 kB of the answer's body.
    answer: Mapped[str | None]

"""The answers that are kept for requests with an Idempotency-Key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from web.models.base import Base


class IdempotencyKey(Base):
    """One key of a caller: the request it came with, and the answer once there is one."""

    __tablename__ = "idempotency_keys"

    caller: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    #: SHA-256 of the request, to tell a repeat from another request with the same key.
    request_sha256: Mapped[str]
    #: status, headers and body; empty while the first request is still being answered.
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(index=True)

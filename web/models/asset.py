"""A picture that was handed in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from web.models.base import Base


class Asset(Base):
    """One row a caller and content: the same bytes from the same caller are the same asset."""

    __tablename__ = "assets"
    __table_args__ = (UniqueConstraint("caller", "sha256"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    caller: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    filename: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime]

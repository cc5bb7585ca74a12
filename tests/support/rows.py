"""Rows that tests begin with."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from shared.picture import PictureFacts
from web.assets.uploads import Picture, add_asset
from web.db.models import Asset


def add_picture(
    session: Session,
    *,
    now: datetime,
    sha256: str = "0" * 64,
    size_bytes: int = 1,
    size: tuple[int, int] = (64, 48),
    caller: str = "local",
) -> Asset:
    """Add the asset of a PNG, `size` (width, height) in pixels; its file is not made."""
    picture = Picture(sha256, size_bytes, f"{sha256[0]}.png", PictureFacts("image/png", *size))
    asset, _ = add_asset(session, picture, caller=caller, now=now)
    return asset

"""Assets in the database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.ids import new_id
from shared.picture import PictureFacts
from web.models import Asset


def get_asset(session: Session, asset_id: str, *, caller: str) -> Asset:
    """Return a caller's asset.

    Raises:
        NotFound: when there is none with this id.
    """
    asset = session.scalar(select(Asset).where(Asset.id == asset_id, Asset.caller == caller))
    if asset is None:
        raise NotFound(f"there is no asset with the id '{asset_id}'")
    return asset


def find_asset(session: Session, sha256: str, *, caller: str) -> Asset | None:
    """Return a caller's asset with these bytes, if there is one."""
    return session.scalar(select(Asset).where(Asset.sha256 == sha256, Asset.caller == caller))


def add_asset(
    session: Session,
    *,
    caller: str,
    sha256: str,
    filename: str,
    size_bytes: int,
    facts: PictureFacts,
    now: datetime,
) -> tuple[Asset, bool]:
    """Return the asset of these bytes, and whether it is new."""
    known = find_asset(session, sha256, caller=caller)
    if known is not None:
        return known, False
    asset = Asset(
        id=new_id(),
        caller=caller,
        sha256=sha256,
        filename=filename,
        content_type=facts.content_type,
        size_bytes=size_bytes,
        width=facts.width,
        height=facts.height,
        created_at=now,
    )
    session.add(asset)
    session.flush()
    return asset, True


def is_picture_used(session: Session, sha256: str) -> bool:
    """Whether any caller's asset has these bytes."""
    return session.scalar(select(Asset.id).where(Asset.sha256 == sha256).limit(1)) is not None

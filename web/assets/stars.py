"""Stars: the pictures that a caller wants at hand, which are kept whether a job uses them or not; and lists.

A star is a moment in the asset's own row: it goes with the row, in a backup too, and a picture with one is
never unused.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.errors import ArtifactMissing, TooManyStars
from shared.storage.layout import asset_key
from web.assets.uploads import get_asset
from web.backend import Backend
from web.db.models import Asset


@dataclass(frozen=True)
class AssetFilter:
    """Which pictures a list shows."""

    #: Only those that are starred; else all.
    starred: bool = False


def star_asset(backend: Backend, asset_id: str, *, caller: str, now: datetime) -> Asset:
    """Star a caller's picture and return its asset; one that is starred keeps its moment.

    Raises:
        NotFound: when there is no asset with this id.
        TooManyStars: when the caller has as many as the settings allow.
    """
    most = backend.settings.max_stars
    with backend.database.write() as session:
        asset = get_asset(session, asset_id, caller=caller)
        if asset.starred_at is None:
            starred = select(func.count()).where(Asset.caller == caller, Asset.starred_at.is_not(None))
            count = session.scalar(starred) or 0
            if count >= most:
                raise TooManyStars(f"{count} of your pictures are starred; at most {most} may be")
            asset.starred_at = now
        return asset


def unstar_asset(backend: Backend, asset_id: str, *, caller: str) -> Asset:
    """Take the star off a caller's picture, if it has one, and return its asset.

    Its file counts as uploaded now: a picture that nothing else keeps stays as long as a new one would.

    Raises:
        NotFound: when there is no asset with this id.
        StorageUnavailable: when the storage fails; the star stays.
    """
    with backend.database.read() as session:
        asset = get_asset(session, asset_id, caller=caller)
    if asset.starred_at is None:
        return asset
    with suppress(ArtifactMissing):  # there is nothing left to keep
        backend.storage.touch(asset_key(asset.sha256))
    with backend.database.write() as session:
        asset = get_asset(session, asset_id, caller=caller)
        asset.starred_at = None
        return asset


def starred_assets(session: Session, *, caller: str, limit: int) -> list[Asset]:
    """Return up to `limit` of a caller's starred pictures, the one starred last first."""
    query = select(Asset).where(Asset.caller == caller, Asset.starred_at.is_not(None))
    return list(session.scalars(query.order_by(Asset.starred_at.desc(), Asset.id.desc()).limit(limit)))


def list_assets(
    session: Session, *, caller: str, only: AssetFilter, before_id: str | None = None, limit: int
) -> list[Asset]:
    """Return up to `limit` of a caller's pictures, newest first; with `before_id`, those older than it."""
    query = select(Asset).where(Asset.caller == caller)
    if only.starred:
        query = query.where(Asset.starred_at.is_not(None))
    if before_id is not None:
        query = query.where(Asset.id < before_id)
    return list(session.scalars(query.order_by(Asset.id.desc()).limit(limit)))

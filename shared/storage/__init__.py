"""Shared storage for pictures, checkpoints and results, behind one small interface."""

from __future__ import annotations

from shared.errors import InvalidSettings
from shared.settings import folder_of
from shared.storage.store import ArtifactStore


def open_store(url: str) -> ArtifactStore:
    """Return the store at a URL; ``file:///path`` is a local or mounted folder.

    Raises:
        InvalidSettings: when there is no store for the URL's scheme.
    """
    from shared.storage.local import LocalStore  # here, so that only the chosen store is loaded

    try:
        return LocalStore(folder_of(url))
    except ValueError as error:
        raise InvalidSettings(f"ATELIER_STORAGE_URL is {url!r}: {error}") from None

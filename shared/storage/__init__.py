"""Shared storage for pictures, checkpoints and results, behind one small interface."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import url2pathname

from shared.errors import InvalidSettings
from shared.storage.store import ArtifactStore


def open_store(url: str) -> ArtifactStore:
    """Return the store at a URL; ``file:///path`` is a local or mounted folder.

    Raises:
        InvalidSettings: when there is no store for the URL's scheme.
    """
    from shared.storage.local import LocalStore  # here, so that only the chosen store is loaded

    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return LocalStore(url2pathname(parts.path))
    raise InvalidSettings(f"ATELIER_STORAGE_URL is {url!r}; it must be of the form file:///path/of/a/folder")

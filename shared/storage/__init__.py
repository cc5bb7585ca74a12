"""Shared storage for pictures, checkpoints and results, behind one small interface."""

from __future__ import annotations

from shared.errors import InvalidSettings
from shared.settings import Settings, bucket_of, folder_of
from shared.storage.store import ArtifactStore


def store_of(settings: Settings) -> ArtifactStore:
    """Return the store that the settings name.

    Raises:
        InvalidSettings: as `open_store`.
    """
    return open_store(settings.resolved_storage_url, settings)


def open_store(url: str, settings: Settings) -> ArtifactStore:
    """Return the store at a URL.

    ``file:///path`` is a local or mounted folder, ``s3://bucket/prefix`` a bucket, which is reached as the
    settings say.

    Raises:
        InvalidSettings: when there is no store for the URL's scheme, or its packages are not installed.
    """
    # Imported here, so that only the chosen store is loaded.
    try:
        if url.startswith("s3:"):
            return _open_bucket(*bucket_of(url), settings)
        from shared.storage.local import LocalStore

        return LocalStore(folder_of(url))
    except ValueError as error:
        raise InvalidSettings(f"ATELIER_STORAGE_URL is {url!r}: {error}") from None


def _open_bucket(bucket: str, prefix: str, settings: Settings) -> ArtifactStore:
    try:
        from shared.storage.s3 import S3Store
        from shared.storage.s3_requests import S3Access
    except ImportError:
        raise InvalidSettings(
            "ATELIER_STORAGE_URL names a bucket, and boto3 is not installed: install requirements/s3.txt, or "
            "the extra 's3'"
        ) from None
    access = S3Access(
        endpoint=settings.s3_endpoint,
        public_endpoint=settings.s3_public_endpoint,
        region=settings.s3_region,
        timeout_seconds=settings.s3_timeout_seconds,
    )
    return S3Store(bucket, prefix, access=access)

"""The thumbnails of jobs: of the result, else of the newest preview, else of the content.

Those of results, checkpoints and uploaded pictures are made when they are first asked for, and stored beside
what they show, so that they go when it goes. That of a preview is made each time: the preview itself is
small.
"""

from __future__ import annotations

from contextlib import suppress

from shared.errors import ArtifactExists, ArtifactMissing
from shared.storage.layout import (
    asset_key,
    asset_thumbnail_key,
    checkpoint_thumbnail_key,
    preview_key,
    result_thumbnail_key,
)
from shared.storage.store import ArtifactStore
from web.models import Asset, Job, JobCheckpoint
from web.services import Services
from web.thumbnail import make_thumbnail


def read_thumbnail(services: Services, job: Job) -> bytes:
    """Return the JPEG that stands for a job as it is now.

    Raises:
        ArtifactMissing: when not even the content is there.
        PictureInvalid: when a picture cannot be decoded.
        StorageUnavailable: when the storage fails.
    """
    storage = services.storage
    if job.outputs:
        output = job.outputs[0]
        key = result_thumbnail_key(job.id, output["sha256"])
        with suppress(ArtifactMissing):
            return _stored(services, key, source=output["key"])
    preview = newest_preview(storage, job)
    if preview is not None:
        return make_thumbnail(preview)
    return read_asset_thumbnail(services, job.content)


def read_asset_thumbnail(services: Services, asset: Asset) -> bytes:
    """Return an uploaded picture in small; raises what `read_thumbnail` does."""
    return _stored(services, asset_thumbnail_key(asset.sha256), source=asset_key(asset.sha256))


def read_checkpoint_thumbnail(services: Services, checkpoint: JobCheckpoint) -> bytes:
    """Return a checkpoint's picture in small; raises what `read_thumbnail` does."""
    key = checkpoint_thumbnail_key(checkpoint.picture_key)
    return _stored(services, key, source=checkpoint.picture_key)


def newest_preview(storage: ArtifactStore, job: Job) -> bytes | None:
    """Return the newest preview: of this attempt or, as long as that has none, of the one before."""
    for attempt in range(job.attempt, 0, -1):
        with suppress(ArtifactMissing):
            return storage.read(preview_key(job.id, attempt))
    return None


def _stored(services: Services, key: str, *, source: str) -> bytes:
    storage = services.storage
    with suppress(ArtifactMissing):
        return storage.read(key)
    with services.decoding:
        # Someone else may have made it while this one waited.
        with suppress(ArtifactMissing):
            return storage.read(key)
        data = make_thumbnail(storage.read(source))
    with suppress(ArtifactExists):
        storage.create(key, data)
    return data

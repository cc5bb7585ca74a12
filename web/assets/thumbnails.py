"""Thumbnails: making them, storing them, and the version that changes with them."""

from __future__ import annotations

import io
import threading
from contextlib import suppress

from PIL import Image

from shared.errors import ArtifactMissing, PictureInvalid, StorageUnavailable
from shared.logs import get_logger
from shared.picture_file import (
    DECODING_ERRORS,
    DEEP_MODES,
    in_srgb,
    open_picture,
    orientation,
    split_opacity,
    upright,
)
from shared.redis.live import LiveProgress
from shared.storage.layout import (
    asset_key,
    asset_thumbnail_key,
    checkpoint_thumbnail_key,
    large_thumbnail_key,
    preview_key,
    result_thumbnail_key,
)
from shared.storage.store import ArtifactStore
from shared.storage.verify import CheckedFiles, is_cut_off
from web.db.models import Asset, Job, JobCheckpoint

#: The longer side in pixels; twice that of a card in the gallery on a phone.
SIDE_PX = 384
#: For people who are to see a picture, and not to have its file.
LARGE_SIDE_PX = 1024
_QUALITY = 82
_log = get_logger(__name__)


def make_thumbnail(data: bytes, *, side_px: int = SIDE_PX) -> bytes:
    """Return a picture as a JPEG of at most `side_px` a side, upright, laid on white, without metadata.

    A JPEG is decoded at about that size only. `shared.picture.inspect_picture` must have checked the picture.

    Raises:
        PictureInvalid: when it cannot be decoded.
    """
    try:
        with open_picture(data) as opened:
            opened.draft("RGB", (side_px, side_px))
            opened.load()
            colours, opacity = split_opacity(opened)
            colours = _small(_shallow(colours), side_px)
            # Turned after it is scaled down: turning 40 megapixels takes as long as decoding them.
            picture = in_srgb(colours, opened.info.get("icc_profile"))
            if opacity is not None:
                white = Image.new("RGB", picture.size, "white")
                picture = Image.composite(picture, white, _small(opacity, side_px))
            picture = upright(picture, orientation(opened))
            buffer = io.BytesIO()
            picture.info = {}  # nothing that the file said is written into its thumbnail
            picture.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    except DECODING_ERRORS as error:
        raise PictureInvalid(f"the picture is damaged or cut off: {error}") from error
    return buffer.getvalue()


def thumbnail_version(job: Job, live: LiveProgress | None) -> str:
    """Return a text that changes whenever a job's thumbnail may have changed.

    Args:
        job: The row.
        live: Its live progress, if that is newer than the row.
    """
    if job.outputs:
        return str(job.outputs[0]["sha256"][:16])
    step = live.preview_step if live is not None else job.step
    return f"{job.attempt}-{step}"


def _shallow(picture: Image.Image) -> Image.Image:
    """Return grey of more than 8 bits in 8 bits."""
    if picture.mode == "F":
        return picture.point(lambda value: value * 255).convert("L")
    if picture.mode in DEEP_MODES:
        return picture.point(lambda value: value / 256, "L")
    return picture


def _small(picture: Image.Image, side_px: int) -> Image.Image:
    picture = picture.convert("RGB") if picture.mode in ("P", "1") else picture
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return picture


class Thumbnails:
    """Makes thumbnails and stores them; `decoding` limits how many are made at once.

    `files` opens the pictures that they are made of, and any other that is shown.
    """

    def __init__(self, storage: ArtifactStore, decoding: threading.Semaphore) -> None:
        self._storage = storage
        self._decoding = decoding
        self.files = CheckedFiles(storage)

    def of_job(self, job: Job) -> bytes:
        """Return the JPEG thumbnail of a job: of its result, else its newest preview, else its content.

        Raises:
            ArtifactMissing: when not even the content exists.
            FileDamaged: when a picture is not the one that was written.
            PictureInvalid: when a picture cannot be decoded.
            StorageUnavailable: when the storage fails.
        """
        if job.outputs:
            output = job.outputs[0]
            key = result_thumbnail_key(job.id, output["sha256"])
            with suppress(ArtifactMissing):
                return self._stored(
                    key, output["key"], sha256=output["sha256"], size_bytes=output["size_bytes"]
                )
        preview = newest_preview(self._storage, job)
        if preview is not None:
            return make_thumbnail(preview)
        return self.of_asset(job.content)

    def of_asset(self, asset: Asset) -> bytes:
        """Return the thumbnail of an uploaded picture; raises what `of_job` does."""
        key = asset_thumbnail_key(asset.sha256)
        return self._stored(key, asset_key(asset.sha256), sha256=asset.sha256, size_bytes=asset.size_bytes)

    def large_of_asset(self, asset: Asset) -> bytes:
        """Return an uploaded picture at up to 1024 px a side; raises what `of_job` does."""
        return self._stored(
            large_thumbnail_key(asset.sha256),
            asset_key(asset.sha256),
            sha256=asset.sha256,
            size_bytes=asset.size_bytes,
            side_px=LARGE_SIDE_PX,
        )

    def of_checkpoint(self, checkpoint: JobCheckpoint) -> bytes:
        """Return the thumbnail of a checkpoint's picture; raises what `of_job` does."""
        key = checkpoint_thumbnail_key(checkpoint.picture_key, checkpoint.sha256)
        return self._stored(key, checkpoint.picture_key)

    def _stored(
        self,
        key: str,
        source: str,
        *,
        sha256: str | None = None,
        size_bytes: int | None = None,
        side_px: int = SIDE_PX,
    ) -> bytes:
        """Return a thumbnail as it is stored, or made from its source, if that is what was written."""
        found = self._whole(key)
        if found is not None:
            return found
        with self._decoding:
            # Another thread may have made it in the meantime.
            found = self._whole(key)
            if found is not None:
                return found
            with self.files.open(source, sha256=sha256, size_bytes=size_bytes) as file:
                data = make_thumbnail(file.read(), side_px=side_px)
        try:
            self._storage.write(key, data)
        except StorageUnavailable as error:  # a full disk is no reason to show nothing
            _log.warning("thumbnail_not_kept", key=key, detail=error.detail)
        return data

    def _whole(self, key: str) -> bytes | None:
        """Return a stored thumbnail; none if there is none, or only a part of it."""
        with suppress(ArtifactMissing):
            data = self._storage.read(key)
            return None if is_cut_off(data) else data
        return None


def newest_preview(storage: ArtifactStore, job: Job) -> bytes | None:
    """Return the newest preview: that of the last attempt that has one."""
    for attempt in range(job.attempt, 0, -1):
        with suppress(ArtifactMissing):
            data = storage.read(preview_key(job.id, attempt))
            if not is_cut_off(data):  # a power cut may have spoilt it
                return data
    return None

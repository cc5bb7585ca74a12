"""Finished pictures as files: PNG with its story inside, JPEG for previews; both say that they are sRGB."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

_PROFILE_DATE = slice(24, 36)


def encode_png(image: NDArray[np.uint8], metadata: Mapping[str, str]) -> bytes:
    """Return an 8-bit PNG of sRGB values [H, W, 3], with each entry of `metadata` as an iTXt chunk.

    The same picture and metadata give the same bytes. Keys are Latin-1, at most 79 characters long.
    """
    texts = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        texts.add_itxt(key, value)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=texts, icc_profile=_srgb_profile())
    return buffer.getvalue()


def encode_jpeg(
    image: NDArray[np.uint8],
    *,
    quality: int = 90,
    max_side_px: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return a JPEG of sRGB values [H, W, 3] at full colour resolution (4:4:4).

    Args:
        image: uint8, shape [H, W, 3].
        quality: 1 to 95; default 90.
        max_side_px: A longer picture is made smaller to this long side; default: never.
        metadata: Written as one JSON object into the comment segment, UTF-8; default: nothing.
    """
    picture = Image.fromarray(image)
    if max_side_px is not None and max(picture.size) > max_side_px:
        scale = max_side_px / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    comment = json.dumps(dict(metadata), ensure_ascii=False).encode() if metadata else b""
    picture.save(
        buffer, "JPEG", quality=quality, subsampling="4:4:4", icc_profile=_srgb_profile(), comment=comment
    )
    return buffer.getvalue()


@functools.cache
def _srgb_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # The library writes the present time into the profile; equal pictures must be equal files.
    profile[_PROFILE_DATE] = (2000).to_bytes(2, "big") + bytes([0, 1, 0, 1, 0, 0, 0, 0, 0, 0])
    return bytes(profile)

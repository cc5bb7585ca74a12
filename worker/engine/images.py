"""Picture files: decoding them to floats at the working size, and encoding results as PNG and JPEG."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from shared.errors import EngineFailed, PictureInvalid
from shared.picture import working_size
from shared.picture_file import (
    DECODING_ERRORS,
    DEEP_MODES,
    in_srgb,
    is_heic,
    open_picture,
    orientation,
    reads_heic,
    split_opacity,
    upright,
)

#: Where an ICC profile's header holds the time at which it was made.
_PROFILE_DATE = slice(24, 36)

_Plane = NDArray[np.float32]


def decode_picture(data: bytes, *, size: int, name: Literal["content", "style"]) -> NDArray[np.float32]:
    """Decode a picture file to RGB float32 in [0, 1], sRGB-encoded, shape [H, W, 3].

    EXIF orientation is applied and an embedded ICC profile converted from. Transparent parts are laid on
    white: the result has no alpha channel. 16-bit grey keeps its precision (65535 is white); floating-point
    grey counts 1.0 as white. The long side becomes `size` px by an antialiasing filter; a smaller picture
    keeps its size. The limits of `shared.picture.inspect_picture` are taken as checked.

    Raises:
        EngineFailed: when it is a HEIC and this worker has not what reads it; another one may.
        PictureInvalid: when the file cannot be decoded.
        PictureTooNarrow: when the short side would have fewer than 16 px.
    """
    return decode_fitted(
        data, fit=lambda width, height: working_size(width, height, size=size, name=name), name=name
    )


def decode_fitted(
    data: bytes, *, fit: Callable[[int, int], tuple[int, int]], name: Literal["content", "style"]
) -> NDArray[np.float32]:
    """Decode a picture file as `decode_picture` does, at the size that `fit` chooses.

    Args:
        data: The file.
        fit: Called once with the upright picture's width and height; returns those to resize to, in px. An
            `AtelierError` that it raises is passed on, before any pixel is converted.
        name: What messages call the picture.

    Raises:
        EngineFailed: when it is a HEIC and this worker has not what reads it; another one may.
        PictureInvalid: when the file cannot be decoded.
    """
    if is_heic(data) and not reads_heic():
        raise EngineFailed(f"{name} is a HEIC, and this worker cannot read it: install pillow-heif there")
    try:
        with open_picture(data) as opened:
            opened.load()
            picture = upright(opened, orientation(opened))
            target = fit(*picture.size)
            picture.info, picture.format = opened.info, opened.format
            return np.stack([_resized(plane, target) for plane in _planes(picture)], axis=-1)
    except DECODING_ERRORS as error:
        raise PictureInvalid(f"{name} is damaged or cut off: {error}") from error


def _planes(picture: Image.Image) -> Iterator[_Plane]:
    """Yield red, green and blue in [0, 1] at full size, one at a time to spare memory, laid on white."""
    colours, alpha = split_opacity(picture)
    opacity = None if alpha is None else _plane(alpha)
    for plane in _colour_planes(colours, picture.info.get("icc_profile")):
        yield plane if opacity is None else plane * opacity + (1.0 - opacity)


def _colour_planes(picture: Image.Image, profile: bytes | None) -> Iterator[_Plane]:
    if picture.mode in DEEP_MODES or picture.mode == "F":
        white = 1.0 if picture.mode == "F" else 65535.0
        grey = np.clip(np.asarray(picture).astype(np.float32) / white, 0.0, 1.0)
        if profile:
            grey = _through_curve(grey, profile)
        yield from (grey, grey, grey)
        return
    colours = in_srgb(picture, profile)
    for channel in "RGB":
        yield _plane(colours.getchannel(channel))


def _plane(channel: Image.Image) -> _Plane:
    return np.asarray(channel, dtype=np.float32) / np.float32(255.0)


def _through_curve(grey: _Plane, profile: bytes) -> _Plane:
    """Return grey converted from its ICC profile, of which 256 points are asked and joined by lines."""
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    curve = _plane(in_srgb(ramp, profile).getchannel("G"))[0]
    converted: _Plane = np.interp(grey, np.linspace(0, 1, 256), curve).astype(np.float32)
    return converted


def resize_picture(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a picture [H, W, 3] in [0, 1] resized to (width, height), antialiased when it gets smaller."""
    if picture.shape[1::-1] == size:
        return picture
    return np.stack([_resized(np.ascontiguousarray(picture[..., i]), size) for i in range(3)], axis=-1)


def _resized(plane: _Plane, size: tuple[int, int]) -> _Plane:
    """Resize one plane to (width, height); the filter's overshoot at edges is cut off."""
    height, width = plane.shape
    if (width, height) == size:
        return plane
    resized = Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS)
    clipped: _Plane = np.clip(np.asarray(resized), 0.0, 1.0)
    return clipped


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

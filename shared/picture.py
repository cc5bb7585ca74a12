"""Checks of picture files by their bytes: types, limits, and the working size.

Reads pictures with Pillow; decodes nothing before its pixel count is checked.
"""

from __future__ import annotations

import codecs
import math
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from shared.errors import (
    PictureAnimated,
    PictureInvalid,
    PictureTooHeavy,
    PictureTooLarge,
    PictureTooNarrow,
    PictureTooSmall,
    PictureUnsupported,
)
from shared.options import Method, StyleOptions
from shared.picture_file import (
    CONTENT_TYPES,
    DECODING_ERRORS,
    count_frames,
    is_heic,
    open_picture,
    orientation,
    reads_heic,
)
from shared.texts import field_schemas

#: The network halves a picture four times before its deepest layer; below this a feature map would be empty.
MIN_WORKING_SIDE_PX = 16
#: The method fast sees a style in squares of this side.
STYLE_SQUARE_PX = 256
_LARGEST_SIZE_PX = int(field_schemas(StyleOptions)["size"]["maximum"])

_KNOWN_OTHERS = {
    b"%PDF": "is no picture: it is a PDF file",
    b"PK\x03\x04": "is no picture: it is a ZIP file",
    b"8BPS": "is a Photoshop file",
    b"<svg": "is an SVG file",
    b"<?xm": "is an XML or SVG file",
    b"\x1a\x45\xdf\xa3": "is no picture: it is a Matroska or WebM video",
}


@dataclass(frozen=True)
class PictureLimits:
    """The limits of a picture: at most 25 MB (10⁶ bytes), at most 40 megapixels, at least 32 px a side."""

    max_bytes: int = 25_000_000
    max_pixels: int = 40_000_000
    min_side_px: int = 32


@dataclass(frozen=True)
class PictureFacts:
    """A picture's media type, and its width and height in pixels with its EXIF orientation applied."""

    content_type: str
    width: int
    height: int


def inspect_picture(data: bytes, *, name: str, limits: PictureLimits) -> PictureFacts:
    """Check a picture's bytes against the limits and by decoding them; `name` is what messages call it.

    Raises:
        PictureRefused: the subclass is the limit, the detail has the measured and the allowed value.
    """
    if len(data) > limits.max_bytes:
        raise PictureTooHeavy(
            f"{name} has {len(data) / 1e6:.1f} MB; at most {limits.max_bytes / 1e6:g} MB are allowed"
        )
    with _opened(data, name=name, limits=limits) as picture:
        frames = count_frames(picture)
        if frames > 1:
            raise PictureAnimated(f"{name} has {frames} frames or pages; exactly 1 is allowed")
        width, height = picture.size
        if width * height > limits.max_pixels:
            raise PictureTooLarge(
                f"{name} is {width} × {height} px ({width * height / 1e6:.1f} megapixels); "
                f"at most {limits.max_pixels / 1e6:g} megapixels are allowed"
            )
        if min(width, height) < limits.min_side_px:
            raise PictureTooSmall(
                f"{name} is {width} × {height} px; each side must have at least {limits.min_side_px} px"
            )
        picture.load()
        if picture.mode == "F" and not _is_finite(picture):
            raise PictureInvalid(f"{name} has pixels that are no numbers (NaN or infinite)")
        turned = orientation(picture) in (5, 6, 7, 8)
        content_type = CONTENT_TYPES[picture.format or ""]
    return PictureFacts(content_type, *((height, width) if turned else (width, height)))


def scaled_size(width: int, height: int, *, size: int) -> tuple[int, int]:
    """Return the (width, height) in pixels of a picture scaled to long side `size`, never enlarged."""
    scale = min(1.0, size / max(width, height))
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def taken_size(width: int, height: int, *, part: str, options: StyleOptions) -> tuple[int, int]:
    """Return the (width, height) in pixels at which a job takes in an upright picture, its content or style.

    The method fast sees a style in squares as wide as its short side, so that no style is too narrow for it;
    a job that only starts from what it makes is an optimisation of the same style.

    Raises:
        PictureTooNarrow: as `working_size` does.
    """
    if part == "style" and Method.GATYS not in options.methods:
        return squares_size(width, height)
    return working_size(width, height, size=options.size, name=part)


def squares_size(width: int, height: int) -> tuple[int, int]:
    """Return the size at which a style's short side has 256 px, never enlarged: it is cut into squares."""
    scale = min(1.0, STYLE_SQUARE_PX / min(width, height))
    return round(width * scale), round(height * scale)


def working_size(width: int, height: int, *, size: int, name: str) -> tuple[int, int]:
    """Return the working (width, height) of a picture in pixels: long side `size`, never enlarged.

    Raises:
        PictureTooNarrow: when the short side would have fewer than 16 px, the least the network can process.
    """
    scaled = scaled_size(width, height, size=size)
    if min(scaled) < MIN_WORKING_SIDE_PX:
        raise PictureTooNarrow(
            f"{name} is {width} × {height} px and would be worked on at {scaled[0]} × {scaled[1]} px; "
            f"the short side must keep at least {MIN_WORKING_SIDE_PX} px: {_narrow_hint(width, height)}"
        )
    return scaled


@dataclass(frozen=True)
class Seen:
    """The width and height in px at which the fast network sees a content, and those of the result."""

    network: tuple[int, int]
    result: tuple[int, int]


def seen_sizes(width: int, height: int, *, size: int, detail: int) -> Seen:
    """Decide at which size the fast network sees a content picture of this width and height.

    Args:
        width: In px, as the picture stands upright.
        height: As well.
        size: Long side of the result; a smaller picture is never enlarged.
        detail: Long side at which the network sees the content, at most `size`. A narrow picture is seen
            larger, so that its short side keeps the 16 px that the network needs.

    Raises:
        PictureTooNarrow: when the result's short side would have fewer than 16 px.
    """
    result = working_size(width, height, size=size, name="content")
    least = math.ceil(MIN_WORKING_SIDE_PX * max(width, height) / min(width, height))
    return Seen(scaled_size(width, height, size=max(min(detail, size), least)), result)


def _narrow_hint(width: int, height: int) -> str:
    """Return what helps a picture that is too narrow at some size."""
    # From half a pixel less on it is rounded up.
    least = math.ceil((MIN_WORKING_SIDE_PX - 0.5) * max(width, height) / min(width, height))
    if least > _LARGEST_SIZE_PX or min(width, height) < MIN_WORKING_SIDE_PX:
        return "crop it"
    return f"choose a size of {least} px or more, or crop it"


@contextmanager
def _opened(data: bytes, *, name: str, limits: PictureLimits) -> Iterator[Image.Image]:
    """Open a picture; whatever Pillow raises of it is a refusal."""
    try:
        with open_picture(data) as picture:
            yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        counted = re.search(r"\d+", str(error))
        pixels = f"{int(counted[0]) / 1e6:.0f} megapixels" if counted else "too many pixels"
        raise PictureTooLarge(
            f"{name} has {pixels}; at most {limits.max_pixels / 1e6:g} megapixels are allowed"
        ) from error
    except UnidentifiedImageError as error:
        head = data[:64].lstrip()
        for magic, kind in _KNOWN_OTHERS.items():
            if head.startswith(magic):
                raise PictureUnsupported(f"{name} {kind}; {_allowed()}") from error
        if is_heic(data) and not reads_heic():
            raise PictureUnsupported(f"{name} is a HEIC file; {_allowed()}") from error
        if data[4:8] == b"ftyp" and not is_heic(data) and not data[8:].startswith(b"avi"):
            raise PictureUnsupported(f"{name} is no picture: it is a video; {_allowed()}") from error
        if _is_text(data):
            raise PictureInvalid(f"{name} is no picture: it is a text file; {_allowed()}") from error
        raise PictureInvalid(f"{name} is not a picture that can be read; {_allowed()}") from error
    except DECODING_ERRORS as error:
        raise PictureInvalid(f"{name} is damaged or cut off: {error}") from error


def _is_finite(picture: Image.Image) -> bool:
    """Whether each pixel of a floating-point picture is a number; their sum says it, without numpy."""
    values = array("f")
    values.frombytes(picture.tobytes())
    return math.isfinite(sum(values))


def allowed_kinds() -> str:
    """Return the kinds of pictures that can be read here, in words."""
    heic = "HEIC, " if reads_heic() else ""
    return f"JPEG, PNG, WebP, AVIF, {heic}TIFF, BMP and single-frame GIF"


def _allowed() -> str:
    return f"allowed are {allowed_kinds()}"


def _is_text(data: bytes) -> bool:
    """Whether a file begins like a text: UTF-8 without control characters but those that end lines."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:1000])
    except UnicodeDecodeError:
        return False
    return bool(text) and all(letter.isprintable() or letter in "\r\n\t\f\ufeff" for letter in text)

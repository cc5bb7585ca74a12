"""Picture files as they come: opened so that only what concerns the pixels is read, and judged.

Everybody who decodes a picture that somebody handed in opens it here: the check at its submit, the thumbnail
and the engine see the same frame, the same orientation, the same opacity and the same colours.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageCms

CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
}
#: What Pillow raises for files that are damaged or odd, whatever else it may say.
DECODING_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, NotImplementedError, RecursionError, struct.error, zlib.error,
)  # fmt: skip
#: Grey of more than 8 bits; 65535 is white.
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MODE_OF_PROFILE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}

_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Chunks that are not critical, and concern the pixels of some frame.
_PNG_PIXELS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
_PNG_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
#: Texts in which an orientation may stand.
_PNG_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif")
_MAX_TEXT_BYTES = 1_000_000
_MAX_PROFILE_BYTES = 32_000_000
#: TIFF's NewSubfileType: a smaller version of another page, or its mask.
_TIFF_SUBFILE_TYPE = 254
_TIFF_BY_PRODUCT = 1 | 4


def is_heic(data: bytes) -> bool:
    """Whether a file says that it is a HEIC."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS


@functools.cache
def reads_heic() -> bool:
    """Whether HEIC can be read here: with pillow-heif, the extra ``heif``."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False)
    return True


@contextmanager
def open_picture(data: bytes) -> Iterator[Image.Image]:
    """Open a picture at the frame that it shows; nothing is decoded yet.

    Texts, profiles and other parts of a file that do not concern its pixels are skipped where they cannot be
    read. Of a file with by-products (an MPO's, a TIFF's smaller versions, a PNG's picture that viewers of
    animations hide) it is the picture itself.

    Raises:
        UnidentifiedImageError, DecompressionBombError, and any of `DECODING_ERRORS`, as Pillow does.
    """
    profile = None
    if data.startswith(_PNG_SIGNATURE):
        data, profile = _without_others(data)
    kinds = [kind for kind in CONTENT_TYPES if kind not in ("MPO", "HEIF")]
    if reads_heic():
        kinds.append("HEIF")
    with Image.open(io.BytesIO(data), formats=kinds) as picture:
        if profile:
            picture.info["icc_profile"] = profile
        picture.seek(_own_frames(picture)[1])
        yield picture


def count_frames(picture: Image.Image) -> int:
    """Return how many frames or pages of its own an open picture has; by-products do not count."""
    return _own_frames(picture)[0]


def orientation(picture: Image.Image) -> int:
    """Return a decoded picture's orientation as EXIF numbers it, 1 to 8; 1 where nothing usable is said."""
    try:
        told = picture.getexif().get(_EXIF_ORIENTATION)
    except DECODING_ERRORS:
        return 1
    return told if isinstance(told, int) and told in _TURNS else 1


def upright(picture: Image.Image, told: int) -> Image.Image:
    """Return a picture turned as its orientation `told`; its metadata are left as they are."""
    turn = _TURNS.get(told)
    return picture if turn is None else picture.transpose(turn)


def split_opacity(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return a decoded picture, and its opacity (mode L, 255 is opaque) where it has any."""
    if picture.mode in DEEP_MODES:
        return picture, _opacity_of_deep(picture)
    if not picture.has_transparency_data:
        return picture, None
    layered = picture.convert("RGBA")
    opacity = layered.getchannel("A")
    if picture.format == "BMP" and opacity.getextrema() == (0, 0):
        # Programs that write 32 bits and no opacity leave these bytes 0.
        return layered.convert("RGB"), None
    return layered, opacity


def in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an 8-bit picture of any mode as RGB, converted from its ICC profile if it has one."""
    if not profile and picture.mode != "LAB":
        return picture.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
        mode = _MODE_OF_PROFILE.get(source.profile.xcolor_space.strip(), "")
        if picture.mode not in ("CMYK", "LAB"):
            picture = picture.convert("L" if mode == "L" else "RGB")
        converted = ImageCms.profileToProfile(
            picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        # A profile that is broken, or made for another kind of picture, is ignored, as browsers do.
        return picture.convert("RGB")
    assert converted is not None  # noqa: S101 (only in-place conversions return nothing)
    return converted


def _opacity_of_deep(picture: Image.Image) -> Image.Image | None:
    """Return the opacity of deep grey, of which a PNG may call one value transparent."""
    value = picture.info.get("transparency")
    if not isinstance(value, int) or not 0 <= value <= 0xFFFF:
        return None
    table = [255] * 0x10000
    table[value] = 0
    return picture.convert("I").point(table, "L")


def _own_frames(picture: Image.Image) -> tuple[int, int]:
    """Return how many frames of its own an open picture has, and which is the first."""
    frames: int = getattr(picture, "n_frames", 1)
    if picture.format in ("MPO", "HEIF"):
        return 1, picture.tell()  # it is opened at a phone's photo; the others are by-products
    if picture.format == "PNG" and frames > 1 and getattr(picture, "default_image", False):
        return frames - 1, 1
    if picture.format == "TIFF" and frames > 1:
        place, own = picture.tell(), []
        for number in range(frames):
            picture.seek(number)
            if not _is_by_product(picture):
                own.append(number)
            if len(own) > 1:
                break
        picture.seek(place)
        return (frames if len(own) > 1 else 1), (own[0] if own else 0)
    return frames, 0


def _is_by_product(page: Image.Image) -> bool:
    kind = getattr(page, "tag_v2", {}).get(_TIFF_SUBFILE_TYPE, 0)
    return isinstance(kind, int) and bool(kind & _TIFF_BY_PRODUCT)


def _without_others(data: bytes) -> tuple[bytes, bytes | None]:
    """Return a PNG without what does not concern its pixels, and its ICC profile.

    A file whose chunks cannot be followed is returned as it is from there on: its decoder has the word.
    """
    kept, profile, place = [_PNG_SIGNATURE], None, len(_PNG_SIGNATURE)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            break
        if _is_critical(kind) or kind in _PNG_PIXELS:
            kept.append(data[place:end])
        elif kind == b"iCCP" and _is_whole(data, place, end):
            profile = _profile_of(data[place + 8 : end - 4])
        elif _is_read(kind, data[place + 8 : end - 4]) and _is_whole(data, place, end):
            kept.append(data[place:end])
        place = end
        if kind == b"IEND":
            return b"".join(kept), profile
    return b"".join([*kept, data[place:]]), profile


def _is_critical(kind: bytes) -> bool:
    return not kind[0] & 0x20


def _is_whole(data: bytes, place: int, end: int) -> bool:
    return zlib.crc32(data[place + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def _is_read(kind: bytes, body: bytes) -> bool:
    """Whether an orientation may stand in a chunk, and it is no larger than such a text is."""
    if kind == b"eXIf":
        return True
    keyword, _, rest = body.partition(b"\0")
    if kind not in (b"tEXt", b"zTXt", b"iTXt") or keyword not in _PNG_TEXTS or len(body) > _MAX_TEXT_BYTES:
        return False
    if kind == b"tEXt" or (kind == b"iTXt" and rest[:1] == b"\0"):
        return True
    packed = rest[1:] if kind == b"zTXt" else rest[2:].split(b"\0", 2)[-1]
    return _unpacked(packed, most=_MAX_TEXT_BYTES) is not None


def _profile_of(body: bytes) -> bytes | None:
    _name, _, rest = body.partition(b"\0")
    return _unpacked(rest[1:], most=_MAX_PROFILE_BYTES)


def _unpacked(packed: bytes, *, most: int) -> bytes | None:
    """Return what zlib packed; None where that is damaged, or more than so many bytes."""
    try:
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(packed, most + 1)
    except zlib.error:
        return None
    return unpacked if unpacker.eof and len(unpacked) <= most else None

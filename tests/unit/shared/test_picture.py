"""Pictures are judged by their bytes, before they are decoded where that matters."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.errors import (
    PictureAnimated,
    PictureInvalid,
    PictureRefused,
    PictureTooHeavy,
    PictureTooLarge,
    PictureTooNarrow,
    PictureTooSmall,
    PictureUnsupported,
)
from shared.options import StyleOptions
from shared.picture import PictureLimits, inspect_picture, taken_size, working_size

LIMITS = PictureLimits()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is that large and has no pixels at all."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + struct.pack(">I", 9) + b"IDAT"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_known_types_are_accepted(make_picture: Callable[..., bytes], kind: str):
    facts = inspect_picture(make_picture(50, 40, kind=kind), name="content", limits=LIMITS)
    assert (facts.width, facts.height) == (50, 40)
    assert facts.content_type == f"image/{kind.lower()}"


def test_orientation_counts(make_picture: Callable[..., bytes]):
    picture = Image.open(io.BytesIO(make_picture(50, 40)))
    exif = picture.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", exif=exif)
    facts = inspect_picture(buffer.getvalue(), name="content", limits=LIMITS)
    assert (facts.width, facts.height) == (40, 50)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", PictureInvalid, "not a picture"),
        (b"hello, world", PictureInvalid, "content is no picture: it is a text file"),
        ("Käse\n".encode() * 300, PictureInvalid, "is a text file"),
        (b"\x00\x01" * 40, PictureInvalid, "not a picture"),
        (b"PK\x03\x04 and so on", PictureUnsupported, "is no picture: it is a ZIP file"),
        (b"%PDF-1.7 and so on", PictureUnsupported, "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", PictureUnsupported, "SVG"),
        (b"\x00\x00\x00\x18ftypisom", PictureUnsupported, "video"),
        (png_header(10_000, 5_000), PictureTooLarge, "10000 × 5000 px .50.0 megapixels.; at most 40"),
        (png_header(30_000, 30_000), PictureTooLarge, "900 megapixels; at most 40"),
        (png_header(12_000, 9_000), PictureTooLarge, "108 megapixels; at most 40"),
        (png_header(31, 100), PictureTooSmall, "31 × 100 px; each side must have at least 32 px"),
        (png_header(64, 64), PictureInvalid, "damaged or cut off"),
    ],
)
def test_refusals(data: bytes, error: type[PictureRefused], words: str):
    with pytest.raises(error, match=words):
        inspect_picture(data, name="content", limits=LIMITS)


def test_too_many_bytes(make_picture: Callable[..., bytes]):
    with pytest.raises(PictureTooHeavy, match=r"0\.0 MB; at most 0\.0001 MB"):
        inspect_picture(make_picture(), name="content", limits=PictureLimits(max_bytes=100))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_are_refused(make_picture: Callable[..., bytes], kind: str):
    frames = [Image.open(io.BytesIO(make_picture(seed=seed))) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format=kind, save_all=True, append_images=frames[1:])
    with pytest.raises(PictureAnimated, match="3 frames"):
        inspect_picture(buffer.getvalue(), name="content", limits=LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_truncated_files_are_refused(make_picture: Callable[..., bytes], kind: str):
    data = make_picture(90, 70, kind=kind)
    with pytest.raises((PictureInvalid, PictureUnsupported)):
        inspect_picture(data[: len(data) * 2 // 3], name="content", limits=LIMITS)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]))
def test_damaged_files_are_judged_and_nothing_else_is_raised(data: st.DataObject, kind: str):
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((40, 40)).save(buffer, format=kind)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        facts = inspect_picture(bytes(damaged), name="content", limits=LIMITS)
    except PictureRefused:
        return
    assert facts.width * facts.height <= LIMITS.max_pixels


@pytest.mark.parametrize(
    ("given_size", "size", "expected"),
    [
        ((4000, 3000), 512, (512, 384)),
        ((3024, 3024), 512, (512, 512)),
        ((3000, 4000), 512, (384, 512)),
        ((200, 100), 512, (200, 100)),
        ((1001, 667), 500, (500, 333)),
    ],
)
def test_working_size(given_size: tuple[int, int], size: int, expected: tuple[int, int]):
    assert working_size(*given_size, size=size, name="content") == expected


def test_too_narrow():
    with pytest.raises(PictureTooNarrow, match="512 × 4 px"):
        working_size(4000, 32, size=512, name="content")


@pytest.mark.parametrize(
    ("given_size", "size", "hint"),
    [
        ((5000, 33), 512, "choose a size of 2349 px or more, or crop it"),
        ((33, 5000), 512, "choose a size of 2349 px or more, or crop it"),
        ((9000, 33), 4096, "16 px: crop it"),
        ((4000, 12), 4096, "16 px: crop it"),
    ],
)
def test_one_that_is_too_narrow_is_told_what_helps(given_size, size, hint):
    with pytest.raises(PictureTooNarrow, match=f"{re.escape(hint)}$"):
        working_size(*given_size, size=size, name="style")


@pytest.mark.parametrize("given_size", [(5000, 33), (33, 5000)])
def test_the_size_that_is_named_is_the_smallest_that_helps(given_size):
    assert min(working_size(*given_size, size=2349, name="content")) == 16
    with pytest.raises(PictureTooNarrow):
        working_size(*given_size, size=2348, name="content")


@pytest.mark.parametrize(
    ("given_size", "taken"),
    [
        ((5000, 33), (5000, 33)),
        ((33, 5000), (33, 5000)),
        ((32, 32), (32, 32)),
        ((1024, 512), (512, 256)),
        ((600, 3000), (256, 1280)),
    ],
)
def test_fast_takes_a_style_of_any_shape_for_its_squares(given_size, taken):
    for size in (32, 512, 4096):
        options = StyleOptions(method="fast", size=size)
        assert taken_size(*given_size, part="style", options=options) == taken


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("content", {"method": "fast"}),
        ("content", {}),
        ("style", {}),
        ("style", {"init": "fast"}),
    ],
)
@pytest.mark.parametrize("given_size", [(5000, 33), (33, 5000)])
def test_what_is_seen_as_a_whole_must_not_be_too_narrow(part, options, given_size):
    with pytest.raises(PictureTooNarrow, match=f"{part} is {given_size[0]} × {given_size[1]} px"):
        taken_size(*given_size, part=part, options=StyleOptions(**options))
    wide = StyleOptions(**options, size=4096)
    assert sorted(taken_size(*given_size, part=part, options=wide)) == [27, 4096]
    assert taken_size(32, 32, part=part, options=StyleOptions(**options)) == (32, 32)

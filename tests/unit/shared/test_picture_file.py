"""What does not concern the pixels is skipped, and what is accepted decodes and has a thumbnail."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from shared import picture, picture_file
from shared.errors import (
    EngineFailed,
    PictureAnimated,
    PictureInvalid,
    PictureRefused,
    PictureUnsupported,
)
from shared.picture import PictureFacts, PictureLimits, inspect_picture
from shared.picture_file import reads_heic
from web.assets.thumbnails import make_thumbnail
from worker.engine import images
from worker.engine.images import decode_picture

LIMITS = PictureLimits()
SIZE = (48, 36)


def check(data: bytes) -> PictureFacts:
    return inspect_picture(data, name="content", limits=LIMITS)


def levels(data: bytes) -> np.ndarray:
    """What the engine sees, as 8 bits."""
    return np.rint(decode_picture(data, size=512, name="content") * 255).astype(int)


def thumbnail(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(make_thumbnail(data))) as small:
        return np.asarray(small.convert("RGB")).astype(int)


def encode(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(size: tuple[int, int] = SIZE) -> Image.Image:
    """Dark left, light right, a little of each colour: a JPEG of it is nearly the same."""
    across = np.linspace(20, 230, size[0])[None, :].repeat(size[1], 0)
    return Image.fromarray(np.stack([across, across[::-1] * 0.8, 255 - across], -1).astype(np.uint8))


def chunk(kind: bytes, body: bytes, *, is_whole: bool = True) -> bytes:
    checksum = zlib.crc32(kind + body) ^ (0 if is_whole else 1)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def with_chunk(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with chunks right after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


LONG = bytes(2_000_000)
SKIPPED = {
    "zTXt of 2 MB": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LONG)),
    "iTXt of 2 MB": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LONG)),
    "XMP of 2 MB": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG)),
    "EXIF as text of 2 MB": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LONG)),
    "iCCP of 40 MB": chunk(b"iCCP", b"odd\0\0" + zlib.compress(bytes(40_000_000))),
    "iCCP that is no zlib": chunk(b"iCCP", b"odd\0\0hello"),
    "iCCP with a wrong checksum": chunk(b"iCCP", b"odd\0\0" + zlib.compress(b"no profile"), is_whole=False),
    "tEXt with a wrong checksum": chunk(b"tEXt", b"Comment\0hello", is_whole=False),
    "eXIf with a wrong checksum": chunk(b"eXIf", b"MM\0*\0\0\0\10", is_whole=False),
    "zTXt that is cut off": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LONG)[:100]),
    "an empty text": chunk(b"iTXt", b""),
    "a gamma of no length": chunk(b"gAMA", b""),
    "a pixel size of one byte": chunk(b"pHYs", b"\1"),
    "a palette's histogram": chunk(b"hIST", b"\0" * 7),
    "a chunk of somebody's own": chunk(b"prVt", b"\0" * 100, is_whole=False),
}


@pytest.mark.parametrize("others", SKIPPED.values(), ids=SKIPPED)
def test_a_chunk_that_does_not_concern_the_pixels_is_skipped(others: bytes):
    plain = encode(smooth())
    data = with_chunk(plain, others)
    assert (check(data).width, check(data).height) == SIZE
    np.testing.assert_array_equal(levels(data), levels(plain))
    np.testing.assert_array_equal(thumbnail(data), thumbnail(plain))


@pytest.mark.parametrize("kind", [b"PLTE", b"tRNS"])
def test_a_chunk_that_does_is_not(kind: bytes):
    plain = encode(smooth().quantize(16), transparency=3)
    place = plain.index(kind)
    damaged = bytearray(plain)
    damaged[place + 4 + int.from_bytes(plain[place - 4 : place], "big")] ^= 1
    with pytest.raises(PictureInvalid):
        check(bytes(damaged))


def swapped_profile() -> bytes:
    """An sRGB profile that calls red what is green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {bytes(profile[o : o + 4]): o for o in range(132, 132 + 12 * profile[131], 12)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def test_a_large_profile_counts():
    padded = swapped_profile()
    padded += random.Random(1).randbytes(1_500_000)
    padded = len(padded).to_bytes(4, "big") + padded[4:]
    data = with_chunk(
        encode(Image.new("RGB", SIZE, (255, 0, 0))), chunk(b"iCCP", b"x\0\0" + zlib.compress(padded))
    )
    check(data)
    for seen in (levels(data), thumbnail(data)):
        assert np.abs(seen - [0, 255, 0]).max() <= 4


def grey_profile() -> bytes:
    """A grey profile of gamma 4, in which 50 % is much darker than in sRGB."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 4 << 8) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(4 + 4 + 2 + 1 + 67)
    text += bytes(-len(text) % 4)
    tags, place = b"", 132 + 3 * 12
    for name, body in ((b"kTRC", curve), (b"wtpt", white), (b"desc", text)):
        tags += name + struct.pack(">II", place, len(body))
        place += len(body)
    header = struct.pack(">I4sI4s4s4s", place, bytes(4), 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12)
    header += b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", 3) + tags + curve + white + text


@pytest.mark.parametrize("mode", ["L", "I;16", "F"])
def test_grey_of_every_depth_is_converted_from_its_profile(mode: str):
    grey = Image.new("L", SIZE, 128)
    if mode == "I;16":
        grey = grey.convert("I").point(lambda value: value * 257).convert("I;16")
    elif mode == "F":
        grey = grey.convert("F").point(lambda value: value / 255)
    kind = "TIFF" if mode == "F" else "PNG"
    data = encode(grey, kind, icc_profile=grey_profile())
    check(data)
    # 0.5 to the power of 4 is 0.063 of the light, which sRGB calls 71 of 255.
    assert np.abs(levels(data) - 71).max() <= 2
    assert np.abs(thumbnail(data) - 71).max() <= 3


def test_one_value_of_deep_grey_is_transparent():
    values = np.full((36, 48), 1000, np.uint16)
    values[:, :24] = 1001
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    data = with_chunk(buffer.getvalue(), chunk(b"tRNS", struct.pack(">H", 1000)))
    check(data)
    for seen in (levels(data), thumbnail(data)):
        assert seen[:, 40:].min() >= 250
        assert seen[:, :12].max() <= 10


def bmp32(alpha: int) -> bytes:
    """A bitmap with a mask for its opacity, which is the same everywhere."""
    width, height = SIZE
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, width * height * 4, 0, 0, 0, 0)
    header += masks + b"BGRs" + bytes(48)
    pixels = bytes([10, 120, 200, alpha]) * (width * height)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(pixels), 0, 0, 14 + 108) + header + pixels


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0, [200, 120, 10]), (255, [200, 120, 10]), (51, [244, 228, 206])]
)
def test_a_bitmap_that_is_transparent_everywhere_is_opaque(alpha: int, expected: list[int]):
    data = bmp32(alpha)
    check(data)
    for seen in (levels(data), thumbnail(data)):
        assert np.abs(seen - expected).max() <= 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_pixels_that_are_no_numbers_are_refused(value: float):
    values = np.full((36, 48), 0.5, np.float32)
    values[20, 30] = value
    with pytest.raises(PictureInvalid, match="no numbers"):
        check(encode(Image.fromarray(values), "TIFF"))


def apng(frames: int, *, is_hidden: bool) -> bytes:
    pictures = [Image.new("RGB", SIZE, (0, 40 * number, 0)) for number in range(frames + 1)]
    first, *rest = pictures if is_hidden else pictures[1:]
    return encode(first, save_all=True, append_images=rest, default_image=is_hidden)


def test_a_picture_that_viewers_hide_is_not_counted():
    data = apng(1, is_hidden=True)
    assert (check(data).width, check(data).height) == SIZE
    for seen in (levels(data), thumbnail(data)):
        assert np.abs(seen - [0, 40, 0]).max() <= 3


@pytest.mark.parametrize("is_hidden", [True, False])
def test_an_animation_is_refused(is_hidden: bool):
    with pytest.raises(PictureAnimated, match="2 frames"):
        check(apng(2, is_hidden=is_hidden))


def tiff(*kinds: int) -> bytes:
    """A TIFF with a page of each kind; the first that is no by-product is green."""
    main = next((number for number, kind in enumerate(kinds) if not kind & 5), 0)
    pages = [Image.new("RGB", (16, 12), (200, 0, 0)) for _ in kinds]
    pages[main] = Image.new("RGB", SIZE, (0, 200, 0))
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer) as writer:
        for page, kind in zip(pages, kinds, strict=True):
            page.encoderinfo = {"tiffinfo": {254: kind}}
            page.save(writer, "TIFF", tiffinfo={254: kind})
            writer.newFrame()
    return buffer.getvalue()


@pytest.mark.parametrize("kinds", [(0, 1), (0, 1, 1), (0, 4), (1, 0), (0, 5)])
def test_smaller_versions_and_masks_are_no_pages(kinds: tuple[int, ...]):
    data = tiff(*kinds)
    assert (check(data).width, check(data).height) == SIZE
    for seen in (levels(data), thumbnail(data)):
        assert np.abs(seen - [0, 200, 0]).max() <= 3


@pytest.mark.parametrize("kinds", [(0, 0), (0, 1, 0), (2, 2)])
def test_pages_are(kinds: tuple[int, ...]):
    with pytest.raises(PictureAnimated):
        check(tiff(*kinds))


def test_avif_is_taken():
    data = encode(smooth(), "AVIF", quality=90)
    assert check(data).content_type == "image/avif"
    assert np.abs(levels(data) - levels(encode(smooth()))).mean() < 4
    assert thumbnail(data).shape == (36, 48, 3)


def heic() -> bytes:
    assert reads_heic()  # in the environment of the tests, which registers it with Pillow
    return encode(smooth(), "HEIF", quality=90)


def test_heic_is_taken():
    data = heic()
    assert check(data).content_type == "image/heic"
    assert np.abs(levels(data) - levels(encode(smooth()))).mean() < 4
    assert thumbnail(data).shape == (36, 48, 3)


def test_where_heic_cannot_be_read_it_is_said_and_another_worker_may_have_it(monkeypatch: pytest.MonkeyPatch):
    data = heic()
    for module in (picture_file, picture, images):
        monkeypatch.setattr(module, "reads_heic", lambda: False)
    with pytest.raises(PictureUnsupported, match=r"content is a HEIC file; allowed are JPEG, .*AVIF, TIFF"):
        check(data)
    with pytest.raises(EngineFailed, match="install pillow-heif"):
        levels(data)


@pytest.mark.parametrize(
    ("brand", "kind"), [(b"isom", PictureUnsupported), (b"avif", PictureInvalid), (b"heic", PictureInvalid)]
)
def test_what_only_begins_like_one(brand: bytes, kind: type[PictureRefused]):
    with pytest.raises(kind):
        check(b"\0\0\0\x1cftyp" + brand + bytes(200))


#: Of the tags that cameras write: what Pillow itself looks at, and some that it does not.
TAGS = [0x010E, 0x010F, 0x0112, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x0213, 0x8769, 0x8825, 0x9000,
        0xA001, 0xA005, 0x02BC, 0x0100, 0x0102, 0x0103, 0x0111, 0x0117, 0xFFFF]  # fmt: skip


@st.composite
def exif(draw: st.DrawFn) -> bytes:
    """A directory of tags of any type and count, in either byte order; an orientation may be among them."""
    order = draw(st.sampled_from("<>"))
    entries = draw(
        st.lists(
            st.tuples(
                st.sampled_from(TAGS),
                st.integers(0, 14),
                st.sampled_from([0, 1, 2, 3, 8, 70_000, 2**32 - 1]),
                st.one_of(st.binary(min_size=4, max_size=4), st.just(struct.pack(order + "HH", 6, 0))),
            ),
            max_size=5,
        )
    )  # fmt: skip
    if draw(st.booleans()):
        entries.append((0x0112, 3, 1, struct.pack(order + "HH", draw(st.integers(0, 9)), 0)))
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in sorted(entries):
        body += struct.pack(order + "HHI", tag, kind, count) + value
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "I", 8) + body + draw(st.binary(max_size=40))


def with_exif(kind: str, told: bytes) -> bytes:
    if kind == "PNG":
        return with_chunk(encode(smooth()), chunk(b"eXIf", told))
    return encode(smooth(), kind, exif=b"Exif\0\0" + told)


def assert_usable(data: bytes) -> None:
    """What is accepted decodes, and has a thumbnail, both as it was measured."""
    try:
        facts = check(data)
    except PictureRefused:
        return
    assert levels(data).shape == (facts.height, facts.width, 3)
    assert thumbnail(data).shape == (facts.height, facts.width, 3)


@settings(max_examples=250, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP"]), told=exif())
def test_whatever_exif_says_the_picture_is_taken(kind: str, told: bytes):
    data = with_exif(kind, told)
    facts = check(data)
    assert {facts.width, facts.height} == set(SIZE)
    assert_usable(data)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_chunks_there_are(data: st.DataObject):
    mode = data.draw(st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1", "I;16"]))
    picture = smooth().convert("I").convert("I;16") if mode == "I;16" else smooth().convert(mode)
    kinds = b"tRNS iCCP eXIf tEXt zTXt iTXt gAMA cHRM sRGB pHYs acTL fcTL bKGD tIME cICP xyZz".split()
    bodies = st.one_of(st.binary(max_size=60), st.just(b"Raw profile type exif\0\0" + zlib.compress(b"exif")))
    chunks = [
        chunk(data.draw(st.sampled_from(kinds)), data.draw(bodies), is_whole=data.draw(st.booleans()))
        for _ in range(data.draw(st.integers(0, 4)))
    ]
    assert_usable(with_chunk(encode(picture), *chunks))


SAVED: dict[str, list[str]] = {
    "PNG": ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"],
    "TIFF": ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "LAB", "YCbCr", "F", "I"],
    "WEBP": ["RGB", "RGBA", "L", "LA"],
    "GIF": ["P", "L", "RGB", "RGBA", "1"],
    "BMP": ["RGB", "L", "P", "1", "RGBA"],
    "JPEG": ["RGB", "L", "CMYK", "YCbCr"],
    "AVIF": ["RGB", "RGBA", "L"],
    "HEIF": ["RGB", "RGBA", "L"],
}
PROFILES: dict[str, Callable[[], bytes | None]] = {
    "none": lambda: None, "swapped": swapped_profile, "grey": grey_profile, "junk": lambda: b"no profile",
    "Lab": lambda: ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
}  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in SAVED.items() for mode in modes])
def test_every_mode_of_every_kind_with_every_profile(kind: str, mode: str, profile: str):
    source = smooth()
    if "A" in mode:
        source.putalpha(Image.linear_gradient("L").resize(SIZE))
    picture = source.convert("I").convert(mode) if mode == "I;16" else source.convert(mode)
    told = PROFILES[profile]()
    data = encode(picture, kind, **({} if told is None else {"icc_profile": told}))
    check(data)
    assert_usable(data)


def test_the_orientation_of_a_png_stands_in_a_text_too():
    told = Image.Exif()
    told[0x0112] = 6
    text = f"\nexif\n{len(told.tobytes()):8d}\n{told.tobytes().hex()}"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    data = encode(smooth(), pnginfo=info)
    assert (check(data).width, check(data).height) == SIZE[::-1]
    assert_usable(data)

"""Pictures in small: every kind that is taken in, upright, on white, and no word of the camera."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from shared.errors import PictureInvalid
from shared.redis.live import LiveProgress
from web.assets.thumbnails import LARGE_SIDE_PX, SIDE_PX, make_thumbnail, thumbnail_version
from web.db.models import Job

ORIENTATION, MAKER = 0x0112, 0x010F


def encode(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(mode: str, size: tuple[int, int] = (600, 400)) -> Image.Image:
    """Black above, white below."""
    grey = Image.linear_gradient("L").resize(size)
    if mode == "I;16":
        return grey.convert("I").point(lambda value: value * 257).convert("I;16")
    if mode == "F":
        return grey.convert("F").point(lambda value: value / 255)
    return grey.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"), ("RGB", "PNG"), ("RGB", "WEBP"), ("RGB", "BMP"), ("L", "PNG"), ("LA", "PNG"),
        ("RGBA", "PNG"), ("P", "PNG"), ("P", "GIF"), ("1", "PNG"), ("CMYK", "JPEG"), ("I;16", "PNG"),
        ("F", "TIFF"),
    ],
)  # fmt: skip
def test_every_kind_of_picture(mode: str, kind: str):
    with Image.open(io.BytesIO(make_thumbnail(encode(gradient(mode), kind)))) as small:
        assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (SIDE_PX, 256))
        grey = small.convert("L")
    assert grey.getpixel((100, 2)) < 30
    assert grey.getpixel((100, 253)) > 225


def test_a_small_picture_is_not_enlarged():
    with Image.open(io.BytesIO(make_thumbnail(encode(gradient("RGB", (40, 60)))))) as small:
        assert small.size == (40, 60)


def test_what_is_transparent_is_white():
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    with Image.open(io.BytesIO(make_thumbnail(encode(clear)))) as small:
        assert min(small.getpixel((32, 32))) > 250


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("RGBA", "PNG"), ("RGB", "WEBP")])
def test_it_is_upright_and_tells_nothing_of_the_camera(mode: str, kind: str):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "Someone's camera"
    data = encode(gradient(mode), kind, exif=exif)
    with Image.open(io.BytesIO(make_thumbnail(data))) as small:
        assert small.size == (256, SIDE_PX)
        assert not small.getexif()
        # 6: the first row is the right side.
        assert small.convert("L").getpixel((253, 100)) < 30


def test_at_another_size():
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "Someone's camera"
    data = encode(gradient("RGB", (3000, 2000)), "JPEG", exif=exif, comment=b"Someone's words")
    with Image.open(io.BytesIO(make_thumbnail(data, side_px=LARGE_SIDE_PX))) as picture:
        assert picture.size == (683, LARGE_SIDE_PX)
        assert not picture.getexif()
        assert "comment" not in picture.info


def test_a_damaged_picture():
    with pytest.raises(PictureInvalid):
        make_thumbnail(encode(gradient("RGB"))[:500])


def test_another_picture_is_another_version():
    queued = Job(attempt=1, step=0, outputs=[])
    live = LiveProgress(
        attempt=1, step=9, steps=20, loss_total=1, loss_content=1, loss_style=1, steps_per_second=1,
        preview_step=8,
    )  # fmt: skip
    results = [Job(attempt=1, step=20, outputs=[{"sha256": digit * 64}]) for digit in "ab"]
    versions = [
        thumbnail_version(queued, None),
        thumbnail_version(queued, live),
        thumbnail_version(queued, live.model_copy(update={"preview_step": 9})),
        thumbnail_version(Job(attempt=1, step=15, outputs=[]), None),
        thumbnail_version(Job(attempt=2, step=15, outputs=[]), None),
        *(thumbnail_version(job, None) for job in results),
    ]
    assert len(set(versions)) == len(versions)

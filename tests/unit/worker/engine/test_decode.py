from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.errors import PictureInvalid
from worker.engine.images import decode_picture


def _decode(data: bytes, size: int = 512) -> np.ndarray:
    return decode_picture(data, size=size, name="content")


def _levels(data: bytes, size: int = 512) -> np.ndarray:
    return np.rint(_decode(data, size) * 255).astype(int)


@pytest.fixture
def colours() -> np.ndarray:
    """A picture with a different colour in each pixel."""
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_rgb_comes_through_exactly(colours, encode):
    picture = _decode(encode(colours))
    assert picture.dtype == np.float32
    assert picture.shape == (24, 32, 3)
    np.testing.assert_array_equal(picture, colours.astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, 1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(colours, encode, orientation, undo, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    parameters = {"lossless": True} if kind == "WEBP" else {}
    data = encode(np.ascontiguousarray(undo(colours)), kind, exif=exif, **parameters)
    np.testing.assert_array_equal(_levels(data), colours)


def test_a_sideways_photo_is_scaled_by_its_upright_sides(encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new("RGB", (400, 200), "red"), "JPEG", exif=exif)
    assert _decode(data, 100).shape == (100, 50, 3)


def _swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries are exchanged: what it calls red is green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    entries = {bytes(profile[o : o + 4]): o for o in range(132, 132 + 12 * count, 12)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_converted_from_the_profile(encode, mode):
    red = Image.new("RGB", (32, 32), (255, 0, 0)).convert(mode)
    levels = _levels(encode(red, "PNG", icc_profile=_swapped_profile()))
    assert np.abs(levels - [0, 255, 0]).max() <= 3


def test_a_grey_picture_with_a_colour_profile_is_converted_too(encode):
    grey = Image.new("L", (32, 32), 100)
    levels = _levels(encode(grey, "PNG", icc_profile=_swapped_profile()))
    assert np.abs(levels - 100).max() <= 2


def test_an_srgb_profile_changes_nothing(colours, encode):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(_levels(encode(colours, icc_profile=profile)) - colours).max() <= 1


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200])
def test_a_broken_profile_is_ignored(colours, encode, profile):
    np.testing.assert_array_equal(_levels(encode(colours, icc_profile=profile)), colours)


def test_a_profile_for_another_kind_of_picture_is_ignored(encode):
    cmyk = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert np.abs(_levels(encode(cmyk, "TIFF", icc_profile=_swapped_profile())) - [255, 0, 0]).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(encode, kind):
    picture = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert np.abs(_levels(encode(picture, kind)) - [255, 0, 0]).max() <= 2


def test_lab(encode):
    lab = Image.new("LAB", (32, 32), (255, 128, 128))
    assert _levels(encode(lab, "TIFF")).min() >= 253


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_precision(encode, kind):
    ramp = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) + 30000
    picture = _decode(encode(Image.fromarray(ramp), kind))
    np.testing.assert_allclose(picture[..., 1], ramp / 65535.0, atol=1e-7)
    assert len(np.unique(picture)) == 32 * 32


def test_16_bit_grey_turned_by_exif(encode):
    ramp = np.arange(32 * 24, dtype=np.uint16).reshape(24, 32) * 80
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = _decode(encode(Image.fromarray(ramp), "TIFF", exif=exif))
    np.testing.assert_allclose(picture[..., 0], np.rot90(ramp, -1) / 65535.0, atol=1e-7)


def test_32_bit_integers_count_as_16_bit_values_and_are_clipped(encode):
    values = np.full((32, 32), 65535, np.int32)
    values[0, 0], values[0, 1] = -5, 70000
    picture = _decode(encode(Image.fromarray(values), "TIFF"))
    assert picture[0, 0, 0] == 0
    assert picture[0, 1, 0] == 1
    assert picture[5, 5, 0] == 1


def test_alpha_is_laid_on_white_by_rounding(encode):
    picture = Image.new("RGBA", (32, 32), (255, 0, 101, 51))
    expected = np.array([255, 0, 101]) * 51 / 255 + 255 * (1 - 51 / 255)
    np.testing.assert_allclose(_decode(encode(picture))[3, 3] * 255, expected, atol=1e-3)
    clear = Image.new("RGBA", (32, 32), (9, 9, 9, 0))
    np.testing.assert_array_equal(_levels(encode(clear)), np.full((32, 32, 3), 255))


def test_grey_with_alpha(encode):
    picture = Image.new("LA", (32, 32), (0, 128))
    assert _levels(encode(picture))[0, 0].tolist() == [127, 127, 127]


def test_a_palette_with_a_transparent_colour(encode):
    picture = Image.new("P", (32, 32), 0)
    picture.putpalette([0, 0, 255, 255, 0, 0])
    picture.paste(1, (0, 0, 16, 32))
    levels = _levels(encode(picture, transparency=0))
    assert levels[4, 4].tolist() == [255, 0, 0]
    assert levels[4, 20].tolist() == [255, 255, 255]
    levels = _levels(encode(picture, transparency=bytes([128, 255])))
    assert levels[4, 20].tolist() == [127, 127, 255]
    assert _levels(encode(picture, "GIF"))[4, 20].tolist() == [0, 0, 255]


def test_an_rgb_picture_with_a_transparent_colour(encode):
    picture = Image.new("RGB", (32, 32), (1, 2, 3))
    assert _levels(encode(picture, transparency=(1, 2, 3)))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_black_and_white(encode, mode):
    assert _levels(encode(Image.new(mode, (32, 32), 255))).min() == 255
    assert _levels(encode(Image.new(mode, (32, 32), 0))).max() == 0


def test_a_checkerboard_of_pixels_becomes_flat_grey(encode):
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for size in (256, 200, 64):
        picture = _decode(encode(board), size)
        np.testing.assert_allclose(picture[8:-8, 8:-8], 0.5, atol=0.01)


def test_a_large_picture_is_averaged_not_sampled(encode):
    generator = np.random.default_rng(3)
    noise = generator.integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    picture = _decode(encode(noise), 64)
    # 256 pixels fall into each one: noise shrinks sixteenfold or so.
    assert picture.std() < noise.std() / 255 / 10


def test_resizing_does_not_round_to_8_bits_and_stays_in_range(encode):
    steps = np.zeros((64, 64), np.uint8)
    steps[:, 32:] = 255
    picture = _decode(encode(steps), 48)
    assert picture.min() == 0
    assert picture.max() == 1
    ramp = np.tile(np.arange(100, 164, dtype=np.uint8), (64, 1))
    assert len(np.unique(_decode(encode(ramp), 48)[24, 8:-8, 0].round(4))) == 32


@pytest.mark.parametrize(
    ("width", "height", "size", "shape"),
    [(3024, 40, 1512, (20, 1512, 3)), (100, 67, 50, (34, 50, 3)), (40, 30, 512, (30, 40, 3))],
)
def test_sides_are_rounded_and_never_enlarged(encode, width, height, size, shape):
    assert _decode(encode(Image.new("L", (width, height))), size).shape == shape


def test_a_cut_off_file_is_refused(colours, encode):
    data = encode(colours, "PNG")
    with pytest.raises(PictureInvalid, match="content is damaged or cut off"):
        _decode(data[: len(data) // 2])
    with pytest.raises(PictureInvalid):
        _decode(b"no picture")


def test_a_phone_s_mpo_gives_its_first_picture(encode):
    first, second = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    assert np.abs(_levels(buffer.getvalue())[4, 4] - [254, 0, 0]).max() <= 1

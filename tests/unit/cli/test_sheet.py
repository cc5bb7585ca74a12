"""The sheet of content, style and result."""

from __future__ import annotations

import io

from PIL import Image

from web.cli.sheet import make_sheet


def _save(path, size, colour, **arguments):
    Image.new("RGB", size, colour).save(path, **arguments)
    return path


def test_three_pictures_stand_side_by_side_at_equal_heights(tmp_path):
    content = _save(tmp_path / "content.jpg", (400, 200), (200, 0, 0))
    style = _save(tmp_path / "style.png", (100, 300), (0, 200, 0))
    result = _save(tmp_path / "result.png", (512, 256), (0, 0, 200))
    make_sheet([("content", content), ("style", style), ("result", result)], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        margin, widths = 16, [512, 85, 512]
        assert sheet.width == sum(widths) + 4 * margin
        rows = [16, 16 + 128, 16 + 255]
        left = margin
        for width, channel in zip(widths, range(3), strict=True):
            for row in rows:
                for column in (left + 2, left + width // 2, left + width - 3):
                    pixel = sheet.getpixel((column, row))
                    assert max(range(3), key=lambda index, pixel=pixel: pixel[index]) == channel
                    assert sum(pixel) < 220
            left += width + margin
        # The names are written below each picture, and nowhere above it.
        paper = sheet.getpixel((0, 0))
        below = sheet.crop((0, 16 + 256, sheet.width, sheet.height))
        assert len(below.getcolors(maxcolors=10_000)) > 10
        assert all(sheet.getpixel((x, 3)) == paper for x in range(sheet.width))


def test_a_turned_and_a_transparent_picture_are_shown_as_people_see_them(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (64, 256), (200, 0, 0)).save(buffer, "JPEG", exif=exif.tobytes())
    (tmp_path / "content.jpg").write_bytes(buffer.getvalue())
    Image.new("RGBA", (256, 256), (0, 0, 0, 0)).save(tmp_path / "style.png")
    result = _save(tmp_path / "result.png", (256, 256), (0, 0, 200))
    names = [("content", tmp_path / "content.jpg"), ("style", tmp_path / "style.png"), ("result", result)]
    make_sheet(names, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 1024 + 256 + 256 + 4 * 16
        assert sheet.getpixel((16 + 1024 + 16 + 128, 16 + 128)) == (255, 255, 255)


def test_many_pictures_stand_in_rows_and_a_long_name_is_shortened(tmp_path):
    picture = _save(tmp_path / "picture.png", (256, 256), (0, 0, 200))
    make_sheet(
        [("a", picture)] * 3 + [("a name that is far too long for its picture" * 3, picture)] * 3,
        tmp_path / "sheet.png",
        columns=4,
    )
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 4 * 256 + 5 * 16
        assert sheet.height == 2 * (256 + 21 + 24) + 8
        # Nothing is written between two pictures, where a name that is too long would go on.
        gaps = [sheet.getpixel((16 + 256 + 8, y)) for y in range(sheet.height)]
        assert set(gaps) == {sheet.getpixel((0, 0))}

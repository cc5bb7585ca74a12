"""The sheet: pictures side by side in one PNG, each with what it is below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

_MIN_HEIGHT_PX = 256
_MAX_HEIGHT_PX = 1024
_PAPER = (250, 249, 246)
_INK = (40, 40, 40)


def make_sheet(pictures: Sequence[tuple[str, Path]], out: Path, *, columns: int = 4) -> None:
    """Write a PNG with pictures in rows, all as high as the last one, within 256 to 1024 px.

    Args:
        pictures: What each is called, and its file; the last is as a rule the result.
        out: Where the sheet goes.
        columns: How many stand in a row.

    Raises:
        OSError: when a picture cannot be read or the sheet cannot be written.
    """
    opened = [(name, _read(path)) for name, path in pictures]
    height = min(_MAX_HEIGHT_PX, max(_MIN_HEIGHT_PX, opened[-1][1].height))
    margin, line = height // 16, height // 12
    scaled = [(name, _scaled(picture, height)) for name, picture in opened]
    rows = [scaled[start : start + columns] for start in range(0, len(scaled), columns)]
    width = max(sum(picture.width for _, picture in row) + margin * (len(row) + 1) for row in rows)
    row_height = height + line + 3 * margin // 2
    sheet = Image.new("RGB", (width, row_height * len(rows) + margin // 2), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=line * 2 // 3)
    for number, row in enumerate(rows):
        left, top = margin, margin + number * row_height
        for name, picture in row:
            sheet.paste(picture, (left, top))
            words = _fitting(draw, name, font, picture.width)
            middle = left + picture.width // 2, top + height + line * 3 // 4
            draw.text(middle, words, fill=_INK, font=font, anchor="mm")
            left += picture.width + margin
    sheet.save(out, format="PNG", optimize=True)


def _fitting(
    draw: ImageDraw.ImageDraw, name: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int
) -> str:
    """Return a name, shortened until it is no wider than its picture."""
    words = name
    while len(words) > 1 and draw.textlength(words, font=font) > width:
        words = words.removesuffix("…")[:-1] + "…"
    return words


def _read(path: Path) -> Image.Image:
    """Return a picture upright, in RGB, with transparent pixels on white."""
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
        layered = upright.convert("RGBA")
    paper = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(paper, layered).convert("RGB")


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture.resize((width, height), Image.Resampling.LANCZOS)

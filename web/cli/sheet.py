"""The sheet: content, style and result side by side, at equal heights, each with its name."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

_MIN_HEIGHT_PX = 256
_MAX_HEIGHT_PX = 1024
_PAPER = (250, 249, 246)
_INK = (40, 40, 40)


def make_sheet(content: Path, style: Path, result: Path, out: Path) -> None:
    """Write a PNG with the three pictures; their height is the result's, within 256 to 1024 px.

    Raises:
        OSError: when a picture cannot be read or the sheet cannot be written.
    """
    pictures = [
        (name, _read(path)) for name, path in (("content", content), ("style", style), ("result", result))
    ]
    height = min(_MAX_HEIGHT_PX, max(_MIN_HEIGHT_PX, pictures[-1][1].height))
    margin, line = height // 16, height // 12
    scaled = [(name, _scaled(picture, height)) for name, picture in pictures]
    width = sum(picture.width for _, picture in scaled) + margin * (len(scaled) + 1)
    sheet = Image.new("RGB", (width, height + line + 3 * margin // 2 + margin // 2), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=line * 2 // 3)
    left = margin
    for name, picture in scaled:
        sheet.paste(picture, (left, margin))
        middle = left + picture.width // 2
        draw.text((middle, margin + height + line * 3 // 4), name, fill=_INK, font=font, anchor="mm")
        left += picture.width + margin
    sheet.save(out, format="PNG", optimize=True)


def _read(path: Path) -> Image.Image:
    """Return a picture upright, in RGB, with white behind what is transparent."""
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
        layered = upright.convert("RGBA")
    paper = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(paper, layered).convert("RGB")


def _scaled(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture.resize((width, height), Image.Resampling.LANCZOS)

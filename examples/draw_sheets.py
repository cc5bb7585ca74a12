"""Makes the sheets of docs: python examples/draw_sheets.py. All contents in all styles; what options do.

Each picture is a real result of the method `fast`, with the packaged network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shared.options import parse_options
from shared.settings import Settings
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import load_fast_model
from worker.engine.fast.source import find_fast_model

EXAMPLES = Path(__file__).parent
OUT = EXAMPLES.parent / "docs" / "images"
CONTENTS = ("content", "content-balloons", "content-owl", "content-still-life")
STYLES = ("style", "style-dots", "style-facets", "style-glass", "style-marbled", "style-woodcut")
CELL_PX = 384
STYLE_PX = 160
GAP_PX = 10
DETAILS_PX = (192, 384, 768)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
QUALITY = 74
PAPER, INK = (250, 249, 246), (40, 40, 40)


def main() -> None:
    """Make the sheets and say where they went."""
    engine = FastEngine(load_fast_model(find_fast_model(Settings())))
    for name, sheet in (
        ("styles", all_styles(engine)),
        ("detail", all_details(engine)),
        ("strength", all_strengths(engine)),
    ):
        path = OUT / f"{name}.jpg"
        sheet.save(path, quality=QUALITY, progressive=True, optimize=True)
        print(path)


def stylized(engine: FastEngine, content: str, style: str, **options: float) -> Image.Image:
    """Return what the method makes of two examples."""
    files = [(EXAMPLES / f"{name}.png").read_bytes() for name in (content, style)]
    picture = engine.picture(*files, parse_options({"method": "fast", **options}))
    return Image.fromarray(np.rint(picture * 255).astype(np.uint8))


def all_styles(engine: FastEngine) -> Image.Image:
    """Return a row for each content, a column for each style, with the pictures themselves at the edges."""
    contents = [fitted(name, CELL_PX) for name in CONTENTS]
    width = GAP_PX + (CELL_PX + GAP_PX) * (len(STYLES) + 1)
    height = 2 * GAP_PX + STYLE_PX + sum(picture.height + GAP_PX for picture in contents)
    sheet = Image.new("RGB", (width, height), PAPER)
    for column, name in enumerate(STYLES, start=1):
        paste(sheet, fitted(name, STYLE_PX), column, GAP_PX)
    top = 2 * GAP_PX + STYLE_PX
    for name, content in zip(CONTENTS, contents, strict=True):
        paste(sheet, content, 0, top)
        for column, style in enumerate(STYLES, start=1):
            paste(sheet, stylized(engine, name, style, size=CELL_PX), column, top)
        top += content.height + GAP_PX
    return sheet


def all_details(engine: FastEngine) -> Image.Image:
    """Return one pair at the same size with more and more detail, each with its number below."""
    size_px = max(DETAILS_PX)
    return captioned(
        {
            f"detail {detail}, size {size_px}": stylized(
                engine, "content", "style", size=size_px, detail=detail
            )
            for detail in DETAILS_PX
        }
    )


def all_strengths(engine: FastEngine) -> Image.Image:
    """Return one pair with more and more of the style, each with its number below."""
    return captioned(
        {
            f"style_strength {strength:g}": stylized(
                engine, "content", "style", size=CELL_PX, style_strength=strength
            )
            for strength in STRENGTHS
        }
    )


def captioned(pictures: Mapping[str, Image.Image]) -> Image.Image:
    """Return pictures of one size in a row, with what they are below each."""
    made, line = list(pictures.values()), 40
    width = GAP_PX + sum(picture.width + GAP_PX for picture in made)
    sheet = Image.new("RGB", (width, made[0].height + 2 * GAP_PX + line), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=24)
    left = GAP_PX
    for caption, picture in pictures.items():
        sheet.paste(picture, (left, GAP_PX))
        middle = (left + picture.width // 2, picture.height + GAP_PX + line // 2)
        draw.text(middle, caption, fill=INK, font=font, anchor="mm")
        left += picture.width + GAP_PX
    return sheet


def fitted(name: str, side_px: int) -> Image.Image:
    """Return an example with this long side."""
    with Image.open(EXAMPLES / f"{name}.png") as opened:
        picture = opened.convert("RGB")
    scale = side_px / max(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    return picture.resize(size, Image.Resampling.LANCZOS)


def paste(sheet: Image.Image, picture: Image.Image, column: int, top: int) -> None:
    """Put a picture into the middle of its column."""
    left = GAP_PX + column * (CELL_PX + GAP_PX)
    sheet.paste(picture, (left + (CELL_PX - picture.width) // 2, top))


if __name__ == "__main__":
    main()

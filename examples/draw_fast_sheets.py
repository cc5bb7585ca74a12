"""Makes the sheets of docs/fast.md: python examples/draw_fast_sheets.py. Each shows what one option does.

They are real results of the method fast with the packaged model: the example content, drawn at 1536×1024, and
the example style.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import draw_content
from PIL import Image, ImageDraw, ImageFont

from shared.options import StyleOptions
from shared.settings import Settings
from worker.engine.fast.engine import FastEngine
from worker.engine.fast.model import load_fast_model
from worker.engine.fast.source import find_fast_model

EXAMPLES = Path(__file__).parent
OUT = EXAMPLES.parent / "docs" / "images"
DETAILS_PX = (256, 512, 1024, 1536)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
LONG_SIDE_PX = 1536
CAPTION_PX, GAP_PX = 26, 6
#: Where the part that is shown at full size begins: a boat and houses.
CUT_AT = (460, 380)


def main() -> None:
    """Make both sheets and say where they went."""
    drawn = io.BytesIO()
    draw_content.draw(2.0).save(drawn, "PNG")
    content, style = drawn.getvalue(), (EXAMPLES / "style.png").read_bytes()
    engine = FastEngine(load_fast_model(find_fast_model(Settings())))

    def result(**options: float) -> Image.Image:
        (step,) = engine.stylize(content, style, StyleOptions(**options))
        return Image.fromarray(step.image())

    by_detail = {f"detail {px}": result(size=LONG_SIDE_PX, detail=px) for px in DETAILS_PX}
    whole = {
        name: picture.resize((384, 256), Image.Resampling.LANCZOS) for name, picture in by_detail.items()
    }
    cuts = {
        f"{name}, at full size": picture.crop((*CUT_AT, CUT_AT[0] + 384, CUT_AT[1] + 256))
        for name, picture in by_detail.items()
    }
    save(sheet([whole, cuts]), OUT / "fast-detail.jpg")
    by_strength = {f"style_strength {share:g}": result(size=384, style_strength=share) for share in STRENGTHS}
    save(sheet([by_strength]), OUT / "fast-strength.jpg")


def sheet(rows: Sequence[dict[str, Image.Image]]) -> Image.Image:
    """Return pictures of one size in rows, with what they are above each."""
    width, height = next(iter(rows[0].values())).size
    across = max(len(row) for row in rows)
    full = Image.new(
        "RGB",
        (across * (width + GAP_PX) - GAP_PX, len(rows) * (CAPTION_PX + height + GAP_PX) - GAP_PX),
        "white",
    )
    pen, letters = ImageDraw.Draw(full), ImageFont.load_default(16)
    for line, row in enumerate(rows):
        for place, (caption, picture) in enumerate(row.items()):
            left, top = place * (width + GAP_PX), line * (CAPTION_PX + height + GAP_PX)
            pen.text((left + 4, top + 4), caption, fill="black", font=letters)
            full.paste(picture, (left, top + CAPTION_PX))
    return full


def save(picture: Image.Image, path: Path) -> None:
    """Write a sheet as a JPEG, and say where."""
    picture.save(path, quality=85, optimize=True)
    print(path)


if __name__ == "__main__":
    main()

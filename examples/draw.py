"""Draws the example pictures: python examples/draw.py [--only NAME] [--out DIR] [--scale N] [--pages]."""

from __future__ import annotations

import argparse
from pathlib import Path

import draw_balloons
import draw_content
import draw_dots
import draw_facets
import draw_glass
import draw_marbled
import draw_owl
import draw_still_life
import draw_style
import draw_woodcut
from PIL import Image

EXAMPLES = Path(__file__).parent
#: What the pages offer: each picture as a JPEG, and a small one in `small`.
PAGES = EXAMPLES.parent / "web" / "static" / "examples"
#: The long side of the small pictures, which the pages show half as large.
SMALL_PX = 192
PICTURES = {
    "content": draw_content.draw,
    "content-balloons": draw_balloons.draw,
    "content-owl": draw_owl.draw,
    "content-still-life": draw_still_life.draw,
    "style": draw_style.draw,
    "style-dots": draw_dots.draw,
    "style-facets": draw_facets.draw,
    "style-glass": draw_glass.draw,
    "style-marbled": draw_marbled.draw,
    "style-woodcut": draw_woodcut.draw,
}


def options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Draw the example content and style pictures.")
    parser.add_argument("--only", choices=PICTURES, metavar="NAME", help="one picture, not all of them")
    parser.add_argument("--out", type=Path, default=EXAMPLES, help="folder to write to")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the size (default: 1)")
    parser.add_argument("--pages", action="store_true", help="write the copies for the pages, too")
    asked = parser.parse_args()
    if not 0.05 <= asked.scale <= 4:
        parser.error("--scale must lie between 0.05 and 4")
    if asked.pages and asked.scale != 1:
        parser.error("the pages have their copies at scale 1")
    return asked


def save_for_pages(picture: Image.Image, name: str) -> None:
    """Write a picture and its small copy as the pages offer them."""
    (PAGES / "small").mkdir(parents=True, exist_ok=True)
    picture.save(PAGES / f"{name}.jpg", quality=88, optimize=True, progressive=True)
    small = picture.copy()
    small.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.LANCZOS)
    small.save(PAGES / "small" / f"{name}.jpg", quality=80, optimize=True, progressive=True)


def main() -> None:
    """Draw the pictures and say where they went."""
    asked = options()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in [asked.only] if asked.only else PICTURES:
        path = asked.out / f"{name}.png"
        picture = PICTURES[name](asked.scale)
        picture.save(path, optimize=True)
        if asked.pages:
            save_for_pages(picture, name)
        print(path)


if __name__ == "__main__":
    main()

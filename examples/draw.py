"""Draws the two example pictures: python examples/draw.py [--out DIR] [--scale FACTOR]."""

from __future__ import annotations

import argparse
from pathlib import Path

import draw_content
import draw_style


def options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Draw the example content and style pictures.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the size (default: 1)")
    asked = parser.parse_args()
    if not 0.05 <= asked.scale <= 4:
        parser.error("--scale must lie between 0.05 and 4")
    return asked


def main() -> None:
    """Draw both pictures and say where they went."""
    asked = options()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name, draw in (("content", draw_content.draw), ("style", draw_style.draw)):
        path = asked.out / f"{name}.png"
        draw(asked.scale).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()

"""Makes the pictures of the presets for the page 'New job': python examples/draw_presets.py [--only NAME].

Each is a real result of the engine: the example pictures with the preset's own options, and the network that
needs no download. A new or changed preset needs a new picture; a test checks it.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from shared.options import PRESETS

EXAMPLES = Path(__file__).parent
OUT = EXAMPLES.parent / "web" / "static" / "presets"
#: As `web.pages.new_job` announces it.
SIZE_PX = (320, 213)
#: Left, top, right, bottom as shares: a boat and houses, near enough to see how they are painted.
DETAIL = (0.26, 0.34, 0.8, 0.88)
MAX_BYTES = 15_000


def main() -> None:
    """Make the pictures and say where they went."""
    parser = argparse.ArgumentParser(description="Make the pictures of the presets.")
    parser.add_argument("--only", choices=PRESETS, help="one preset, not all of them")
    only = parser.parse_args().only
    OUT.mkdir(parents=True, exist_ok=True)
    for name in [only] if only else PRESETS:
        path = OUT / f"{name}.webp"
        path.write_bytes(packed(result(name)))
        print(path)


def result(preset: str) -> Image.Image:
    """Run the preset on the example pictures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.png"
        command = [
            *(sys.executable, "-m", "worker.cli.main", "stylize", "--weights", "untrained"),
            *("-O", f"preset={preset}", "-o", str(path)),
            *(str(EXAMPLES / "content.png"), str(EXAMPLES / "style.png")),
        ]
        subprocess.run(command, check=True, cwd=EXAMPLES.parent)  # noqa: S603 - this project's own command
        with Image.open(path) as picture:
            return picture.convert("RGB")


def packed(picture: Image.Image) -> bytes:
    """Return the detail as a WebP file, as good as fits into 15 kB."""
    sides = (picture.width, picture.height) * 2
    box = tuple(share * side for share, side in zip(DETAIL, sides, strict=True))
    small = picture.resize(SIZE_PX, Image.Resampling.LANCZOS, box=box)
    for quality in range(90, 20, -4):
        buffer = io.BytesIO()
        small.save(buffer, format="WEBP", quality=quality, method=6)
        if buffer.tell() <= MAX_BYTES:
            return buffer.getvalue()
    raise SystemExit(f"the picture does not fit into {MAX_BYTES} bytes")


if __name__ == "__main__":
    main()

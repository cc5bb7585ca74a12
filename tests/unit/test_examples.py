"""The example pictures: drawn the same every time, and committed as the pictures they are said to be."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = {"content": (768, 512), "style": (640, 512)}


def drawn(out: Path) -> dict[str, bytes]:
    command = [sys.executable, "-B", str(EXAMPLES / "draw.py"), "--out", str(out), "--scale", "0.125"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_drawing_is_deterministic(tmp_path):
    pytest.importorskip("numpy")
    first, second = drawn(tmp_path / "first"), drawn(tmp_path / "second")
    assert set(first) == {"content.png", "style.png"}
    assert first == second
    for name, (width, height) in SIZES.items():
        with Image.open(tmp_path / "first" / f"{name}.png") as picture:
            assert picture.size == (width // 8, height // 8)


@pytest.mark.parametrize("name", SIZES)
def test_committed_picture(name):
    with Image.open(EXAMPLES / f"{name}.png") as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        assert picture.size == SIZES[name]
        colours = picture.getcolors(maxcolors=picture.width * picture.height)
    assert len(colours) > 20_000


def test_committed_pictures_are_small():
    assert sum((EXAMPLES / f"{name}.png").stat().st_size for name in SIZES) < 1_500_000

"""The example pictures: drawn the same every time, committed as they are listed, and copied for the pages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGES = ROOT / "web" / "static" / "examples"
SIZES = {
    "content": (768, 512),
    "content-balloons": (768, 512),
    "content-owl": (512, 640),
    "content-still-life": (512, 640),
    "style": (640, 512),
    "style-dots": (576, 448),
    "style-facets": (512, 512),
    "style-glass": (512, 512),
    "style-marbled": (512, 512),
    "style-woodcut": (640, 512),
}


def drawn(out: Path) -> dict[str, bytes]:
    command = [sys.executable, "-B", str(EXAMPLES / "draw.py"), "--out", str(out), "--scale", "0.125"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def difference(one: Image.Image, other: Image.Image, size: tuple[int, int]) -> float:
    """The mean difference of two pictures, seen at one size, in levels of 0 to 255."""
    seen = [picture.resize(size, Image.Resampling.BOX) for picture in (one, other)]
    channels = ImageStat.Stat(ImageChops.difference(*seen)).mean
    return sum(channels) / len(channels)


def test_drawing_is_deterministic(tmp_path):
    pytest.importorskip("numpy")
    first, second = drawn(tmp_path / "first"), drawn(tmp_path / "second")
    assert set(first) == {f"{name}.png" for name in SIZES}
    assert first == second
    for name, (width, height) in SIZES.items():
        small = opened(tmp_path / "first" / f"{name}.png")
        assert small.size == (width // 8, height // 8)
        # A few patches of each picture: what is committed is what the script draws.
        assert difference(small, opened(EXAMPLES / f"{name}.png"), (8, 8)) < 20, name


def test_one_picture_alone(tmp_path):
    pytest.importorskip("numpy")
    command = [sys.executable, "-B", str(EXAMPLES / "draw.py"), "--out", str(tmp_path), "--scale", "0.125"]
    subprocess.run([*command, "--only", "style-dots"], check=True, capture_output=True, timeout=300)
    assert [path.name for path in tmp_path.iterdir()] == ["style-dots.png"]


@pytest.mark.parametrize("name", SIZES)
def test_committed_picture(name):
    path = EXAMPLES / f"{name}.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        assert picture.size == SIZES[name]
        colours = picture.getcolors(maxcolors=picture.width * picture.height)
    assert len(colours) > 10_000
    assert path.stat().st_size < 800_000


def test_every_picture_is_listed():
    assert {path.stem for path in EXAMPLES.glob("*.png")} == set(SIZES)
    text = (EXAMPLES / "README.md").read_text()
    rows = re.findall(r"^\| `(.+)\.png` \| (.+?) \| (\d+)×(\d+) \|", text, re.M)
    assert {name: (int(width), int(height)) for name, _, width, height in rows} == SIZES
    assert len({title for _, title, _, _ in rows}) == len(SIZES)


def test_every_script_is_described():
    text = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f"`{path.name}`" not in text] == []


@pytest.mark.parametrize("name", SIZES)
def test_copies_for_the_pages(name):
    picture = opened(EXAMPLES / f"{name}.png")
    copy, small = opened(PAGES / f"{name}.jpg"), opened(PAGES / "small" / f"{name}.jpg")
    assert copy.size == picture.size
    assert max(small.size) == 192
    assert difference(copy, picture, picture.size) < 12
    assert difference(small, picture, (24, 24)) < 6
    assert (PAGES / "small" / f"{name}.jpg").stat().st_size < 20_000


def test_no_other_copies_for_the_pages():
    assert {path.stem for path in PAGES.glob("*.jpg")} == set(SIZES)
    assert {path.stem for path in (PAGES / "small").iterdir()} == set(SIZES)

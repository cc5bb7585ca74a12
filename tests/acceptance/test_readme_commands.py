"""The commands that the README shows, run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.service import Service

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("word", ["curl -s", "-O size=128 -o result.png", "atelier fork"])
def test_a_job_as_the_readme_shows_it(service: Service, tmp_path: Path, word: str):
    if word == "curl -s" and not shutil.which("curl") and not os.environ.get("CI"):
        pytest.skip("there is no curl; with CI set this is a failure")
    run_block(service, tmp_path, word)
    with Image.open(tmp_path / "result.png") as picture:
        assert picture.size == (128, 85)


def test_pictures_in_a_second_as_the_readme_shows_them(service: Service, tmp_path: Path):
    run_block(service, tmp_path, "atelier draft")
    for name in ("fast.png", "drafts/style.png"):
        with Image.open(tmp_path / name) as picture:
            assert max(picture.size) == 512
            assert picture.info["atelier:weights"] == "magenta-int8"
    with Image.open(tmp_path / "drafts/sheet.png") as sheet:
        assert sheet.width > 512


def run_block(service: Service, folder: Path, word: str) -> None:
    """Run the one block of the README that has a word in it, in a folder with the examples."""
    (block,) = [block for block in BLOCKS if word in block]
    shutil.copytree(ROOT / "examples", folder / "examples")
    script = block.replace("http://127.0.0.1:8000", service.url).replace(
        ".venv/bin", str(Path(sys.executable).parent)
    )
    answer = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=folder, env=service.environ, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr

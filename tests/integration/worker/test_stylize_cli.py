"""`atelier-worker stylize` as people run it: in a process of its own, with untrained weights."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path, make_picture: Callable[..., bytes]) -> Path:
    (tmp_path / "content.png").write_bytes(make_picture(48, 36, seed=1))
    (tmp_path / "style.jpg").write_bytes(make_picture(40, 48, kind="JPEG", seed=2))
    return tmp_path


@pytest.fixture
def atelier_worker(folder: Path, untrained_cache: Path):
    """A caller of the command line in `folder`."""

    def call(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("ATELIER_", "TF_"))}
        environ |= {"ATELIER_CACHE_DIR": str(untrained_cache), "COLUMNS": "110"} | variables
        command = [sys.executable, "-m", "worker.cli.main", *words]
        environ["PYTHONPATH"] = str(Path(__file__).parents[3])
        return subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False
        )

    return call


QUICK = ("-O", "steps=3", "-O", "size=48", "--weights", "untrained")


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_png_from_end_to_end(atelier_worker, folder):
    done = atelier_worker("stylize", "content.png", "style.jpg", "-o", "out.png", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["output"], document["width"], document["height"]) == ("out.png", 48, 36)
    assert (document["steps"], document["weights"]["name"]) == (3, "untrained")
    losses = document["losses"]
    assert losses["total"] == pytest.approx(losses["content"] + losses["style"])
    picture = Image.open(folder / "out.png")
    assert (picture.format, picture.size, picture.mode) == ("PNG", (48, 36), "RGB")
    assert len(picture.getcolors(48 * 36)) > 100
    text = picture.text
    assert text["Software"].startswith("Atelier")
    assert json.loads(text["atelier:options"])["steps"] == 3
    assert text["atelier:step"] == "3"
    assert text["atelier:weights"] == "untrained"
    assert text["atelier:weights_sha256"] == document["weights"]["sha256"]
    assert text["atelier:notice"] == document["weights"]["notice"]
    for name in ("content.png", "style.jpg"):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert text[f"atelier:{Path(name).stem}_sha256"] == digest
    assert _files(folder) == ["content.png", "out.png", "style.jpg"]
    for shown in ("Notice", "never trained", "step 3/3"):
        assert shown in done.stderr
    for noise in ("oneDNN", "WARNING", "Traceback"):
        assert noise not in done.stderr


def test_jpeg_and_settings_from_the_environment(atelier_worker, folder):
    (folder / "out.JPG").write_bytes(b"an earlier picture")
    words = ("stylize", "content.png", "style.jpg", "--out", "out.JPG", "--option", "steps=1")
    done = atelier_worker(*words, ATELIER_VGG19_WEIGHTS="untrained")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out.JPG"
    picture = Image.open(io.BytesIO((folder / "out.JPG").read_bytes()))
    assert (picture.format, picture.size) == ("JPEG", (48, 36))
    assert json.loads(picture.info["comment"])["atelier:weights"] == "untrained"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-O", "steps=0", "-O", "siez=3"], ["steps is 0", "did you mean size?", "[invalid_options]"]),
        (["-O", "steps"], ["'steps' is not of the form name=value"]),
        (["-O", "content_weight=NaN"], ["content_weight is nan"]),
        (["-o", "out.gif"], ["out.gif", ".png, .jpg, .jpeg"]),
        (["-o", "nowhere/out.png"], ["the folder 'nowhere' does not exist"]),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_loaded(atelier_worker, folder, words, expected):
    target = () if "-o" in words else ("-o", "out.png")
    _assert_refused(atelier_worker("stylize", "content.png", "style.jpg", *target, *words), folder, expected)


def _damaged(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda data: b"no picture at all", ["style", "[image_invalid]"]),
        (_damaged, ["style is damaged or cut off", "[image_invalid]"]),
        (lambda data: b"%PDF-1.7 " + data, ["style is no picture: it is a PDF file", "[unsupported_media]"]),
    ],
    ids=["no picture", "damaged", "PDF"],
)
def test_a_file_that_is_no_good_picture_is_refused(atelier_worker, folder, spoil, expected):
    path = folder / "style.jpg"
    path.write_bytes(spoil(path.read_bytes()))
    _assert_refused(atelier_worker("stylize", "content.png", "style.jpg", "-o", "out.png"), folder, expected)


def test_limits_are_those_of_the_settings(atelier_worker, folder):
    words = ("stylize", "content.png", "style.jpg", "-o", "out.png")
    done = atelier_worker(*words, ATELIER_MAX_PIXELS="1000")
    _assert_refused(done, folder, ["content is 48 × 36 px", "[image_too_large]"])
    done = atelier_worker(*words, ATELIER_MAX_PIXLES="1000")
    _assert_refused(done, folder, ["ATELIER_MAX_PIXLES is not a setting"])


def test_a_picture_too_narrow_for_the_size(atelier_worker, folder, make_picture):
    (folder / "content.png").write_bytes(make_picture(400, 40))
    done = atelier_worker("stylize", "content.png", "style.jpg", "-o", "out.png", "-O", "size=64")
    _assert_refused(done, folder, ["content is 400 × 40 px", "[image_too_narrow]"])


def test_missing_files_and_arguments(atelier_worker, folder):
    _assert_refused(
        atelier_worker("stylize", "content.png", "absent.png", "-o", "o.png"), folder, ["absent.png"]
    )
    _assert_refused(atelier_worker("stylize", "content.png", "style.jpg"), folder, ["--out"])


def test_weights_that_cannot_be_had(atelier_worker, folder):
    words = ("stylize", "content.png", "style.jpg", "-o", "out.png", "--json")
    done = atelier_worker(*words, "--weights", "absent.h5")
    assert done.returncode == 1
    assert "[weights_unavailable]" in done.stderr
    assert "ATELIER_VGG19_WEIGHTS" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "weights_unavailable"
    done = atelier_worker(*words, "--weights", "style.jpg")
    assert (done.returncode, "[weights_invalid]" in done.stderr) == (1, True)
    assert _files(folder) == ["content.png", "style.jpg"]


def test_the_fast_method(atelier_worker, folder):
    words = (
        "stylize",
        "content.png",
        "style.jpg",
        "-o",
        "out.png",
        "--json",
        "-O",
        "method=fast",
        "-O",
        "size=48",
    )
    done = atelier_worker(*words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["steps"], document["weights"]["name"]) == (1, "magenta-int8")
    picture = Image.open(folder / "out.png")
    assert picture.size == (48, 36)
    assert picture.text["atelier:weights"] == "magenta-int8"
    assert picture.text["atelier:weights_sha256"] == document["weights"]["sha256"]


def test_the_fast_method_without_its_model(atelier_worker, folder):
    words = ("stylize", "content.png", "style.jpg", "-o", "out.png", "--json", "-O", "method=fast")
    done = atelier_worker(*words, ATELIER_FAST_MODEL="absent")
    assert done.returncode == 1
    assert "[fast_model_unavailable]" in done.stderr
    assert "requirements/fast.txt" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "fast_model_unavailable"
    assert _files(folder) == ["content.png", "style.jpg"]


def test_auto_falls_back_loudly_where_there_is_no_network(atelier_worker, folder):
    done = atelier_worker(
        "stylize", "content.png", "style.jpg", "-o", "out.png", "--weights", "auto", "--json",
        "-O", "steps=1",
        ATELIER_VGG19_WEIGHTS_URL="http://127.0.0.1:9/vgg19.h5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "could not be had" in done.stderr
    assert Image.open(folder / "out.png").text["atelier:notice"] == "untrained weights"
    assert json.loads(done.stdout)["weights"]["name"] == "untrained"


def test_help_lists_commands_and_options_without_tensorflow(atelier_worker, folder):
    done = atelier_worker("--help")
    assert done.returncode == 0
    assert "run " in done.stdout
    assert "stylize " in done.stdout
    done = atelier_worker("stylize", "--help")
    for name in ("steps=100", "size=512", "style_weight", "imagenet|auto|untrained|PATH"):
        assert name in done.stdout
    code = (
        "import sys; from worker.cli.main import main\n"
        "for words in (['--help'], ['stylize', '--help']): main(words, standalone_mode=False)\n"
        "assert not {'tensorflow', 'celery', 'worker.engine.engine'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _assert_refused(done: subprocess.CompletedProcess[str], folder: Path, expected: list[str]) -> None:
    assert done.returncode == 2, done.stderr
    for part in expected:
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert _files(folder) == ["content.png", "style.jpg"]

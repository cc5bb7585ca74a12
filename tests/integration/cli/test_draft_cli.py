"""`atelier draft` and what belongs to it: several styles at once, the sheet, and drafts that are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from shared.errors import EngineFailed
from shared.options import StyleOptions
from tests.support.engines import OneStepEngine
from worker.engine.state import EngineState, Step

Atelier = Callable[..., Result]
SMALL = ("-O", "size=48")


class PickyEngine(OneStepEngine):
    """Fails with one style."""

    def __init__(self, disliked: bytes) -> None:
        super().__init__()
        self._disliked = disliked

    def stylize(
        self, content: bytes, style: bytes, options: StyleOptions, *, resume: EngineState | None = None
    ) -> Iterator[Step]:
        if style == self._disliked:
            raise EngineFailed("this style is disliked")
        yield from super().stylize(content, style, options, resume=resume)


@pytest.fixture
def styles(tmp_path: Path, make_picture: Callable[..., bytes]) -> list[Path]:
    """Two styles of one name in two folders, and one that is called as the sheet is."""
    paths = [tmp_path / "old" / "waves.png", tmp_path / "new" / "waves.jpg", tmp_path / "sheet.png"]
    for seed, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(make_picture(seed=seed + 10, kind="JPEG" if path.suffix == ".jpg" else "PNG"))
    return paths


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_several_styles_at_once_leave_a_picture_each_and_a_sheet(
    service, atelier: Atelier, pictures, styles, tmp_path
):
    service.work(OneStepEngine())
    out = tmp_path / "drafts"
    done = atelier("draft", pictures[0], *styles, "-o", out, *SMALL, "--json")
    assert done.exit_code == 0, done.stderr
    # None takes the place of another, nor that of the sheet.
    assert names(out) == ["sheet-2.png", "sheet.png", "waves-2.png", "waves.png"]
    jobs = json.loads(done.stdout)["jobs"]
    assert [(job["kind"], job["options"]["method"], job["status"]) for job in jobs] == [
        ("draft", "fast", "succeeded")
    ] * 3
    assert len({job["input"]["content"]["asset_id"] for job in jobs}) == 1
    with Image.open(out / "sheet.png") as sheet, Image.open(out / "waves.png") as draft:
        assert draft.format == "PNG"
        assert sheet.width > 2 * draft.width
    made = [
        hashlib.sha256((out / f"{name}.png").read_bytes()).hexdigest()
        for name in ("waves", "waves-2", "sheet-2")
    ]
    assert made == [job["outputs"][0]["sha256"] for job in jobs]
    assert atelier("list").stdout == ""
    listed = json.loads(atelier("list", "--kind", "draft", "--json").stdout)["jobs"]
    assert {job["id"] for job in listed} == {job["id"] for job in jobs}


def test_one_that_fails_is_told_and_hinders_no_other(service, atelier: Atelier, pictures, styles, tmp_path):
    service.work(PickyEngine(styles[0].read_bytes()))
    out = tmp_path / "drafts"
    done = atelier("draft", pictures[0], *styles[:2], "-o", out, *SMALL)
    assert done.exit_code == 1
    assert "this style is disliked" in done.stderr
    assert names(out) == ["sheet.png", "waves-2.png"]
    assert done.stdout.splitlines() == [str(out / "waves-2.png")]


def test_what_is_no_style_is_refused_before_anything_is_made(
    service, atelier: Atelier, pictures, styles, tmp_path
):
    out = tmp_path / "drafts"
    refused = atelier("draft", pictures[0], styles[0], "-o", out, "-O", "steps=5")
    assert refused.exit_code == 2
    assert "steps" in refused.stderr
    assert not out.exists()


def test_a_draft_that_is_kept_is_listed_as_a_job(service, atelier: Atelier, pictures, styles, tmp_path):
    service.work(OneStepEngine())
    done = atelier("draft", pictures[0], styles[0], "-o", tmp_path / "drafts", *SMALL, "--json")
    (draft,) = json.loads(done.stdout)["jobs"]
    kept = atelier("keep", draft["id"])
    assert (kept.exit_code, kept.stdout.strip()) == (0, draft["id"])
    listed = json.loads(atelier("list", "--json").stdout)["jobs"]
    assert [(job["id"], job["kind"]) for job in listed] == [(draft["id"], "job")]


def test_a_fast_job_is_waited_for_and_saved(service, atelier: Atelier, pictures, tmp_path):
    service.work(OneStepEngine())
    target = tmp_path / "out.png"
    done = atelier("submit", *pictures, "--method", "fast", "--wait", "-o", target, *SMALL, "--json")
    assert done.exit_code == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["kind"], job["options"]["method"], job["status"]) == ("job", "fast", "succeeded")
    assert hashlib.sha256(target.read_bytes()).hexdigest() == job["outputs"][0]["sha256"]

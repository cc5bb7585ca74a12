"""Pictures through the command line: checkpoints, previews, uploads; and what a job would take."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import update

from shared.status import JobStatus
from tests.support.engines import SteadyEngine
from web.db.models import Job, JobAttempt, JobCheckpoint
from web.jobs.thinning import NO_STATE

_FEW = ("-O", "steps=20", "-O", "checkpoint_every=5")
_NOBODY = "01a21962-e425-72ca-9dac-45aac3e77629"


@pytest.fixture
def done(service, atelier, pictures) -> str:
    """A job that has succeeded, with checkpoints."""
    service.work(SteadyEngine())
    return str(json.loads(atelier("submit", *pictures, *_FEW, "--wait", "--json").stdout)["id"])


def kind(path: str | Path) -> str | None:
    with Image.open(path) as picture:
        return picture.format


def test_the_pictures_of_a_job_are_fetched(atelier, done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = atelier("checkpoints", done[:-3])
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["5", "10", "15", "20"]
    assert "attempt 1  loss 1" in shown.stdout
    for words, name, its_kind in (
        (["--step", 10], f"{done}-checkpoint-10.jpg", "JPEG"),
        (["--step", 10, "--small"], f"{done}-checkpoint-10-thumbnail.jpg", "JPEG"),
        (["--preview"], f"{done}-preview.jpg", "JPEG"),
        (["--small"], f"{done}-thumbnail.jpg", "JPEG"),
        (["--step", 5, "-o", "five.jpg"], "five.jpg", "JPEG"),
        (["--preview", "-o", "now.jpeg"], "now.jpeg", "JPEG"),
        ([], f"{done}.png", "PNG"),
    ):
        result = atelier("download", done, *words)
        assert (result.exit_code, result.stdout) == (0, f"{name}\n"), result.stderr
        assert kind(name) == its_kind
    told = json.loads(atelier("download", done, "--step", 15, "-o", tmp_path, "--json").stdout)
    assert told["sha256"] == hashlib.sha256(Path(told["path"]).read_bytes()).hexdigest()


def test_a_checkpoint_of_which_only_the_picture_is_kept_says_so(service, atelier, done, tmp_path):
    with service.control.backend.database.write() as session:
        session.get_one(JobCheckpoint, (done, 10)).key = NO_STATE
    lines = atelier("checkpoints", done).stdout.splitlines()
    assert [line.endswith("  picture only") for line in lines] == [False, True, False, False]
    assert atelier("download", done, "--step", 10, "-o", tmp_path / "ten.jpg").exit_code == 0
    refused = atelier("fork", done, 10, "-O", "style_weight=0.1")
    assert refused.exit_code != 0
    assert "only the picture is kept; kept are those of step 5, 15, 20" in refused.stderr
    assert atelier("fork", done, 15, "-O", "style_weight=0.1").exit_code == 0


def test_a_name_that_would_belie_the_picture_is_refused(atelier, done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    refused = atelier("download", done, "--step", 5, "-o", "five.png")
    assert (refused.exit_code, "'five.png' would hold a JPEG" in refused.stderr) == (2, True)
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_not_there_is_refused_and_nothing_is_written(
    service, atelier, pictures, tmp_path, monkeypatch
):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    job_id = atelier("submit", *pictures).stdout.strip()
    for words, said in (
        (["--preview"], "it has no preview yet"),
        (["--step", 7], "checkpoint"),
        (["--step", 7000], "there is no checkpoint at 7000"),
        ([], "it has no picture to download"),
    ):
        refused = atelier("download", job_id, *words)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr
    assert "It has no checkpoints." in atelier("checkpoints", job_id).stderr
    assert "No worker has begun it." in atelier("attempts", job_id).stderr
    assert list(Path.cwd().iterdir()) == []


def test_a_picture_that_was_uploaded_once_serves_many_jobs(service, atelier, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, style = atelier("asset", "upload", *pictures).stdout.split()
    again = json.loads(atelier("asset", "upload", pictures[0], "--json").stdout)["assets"]
    assert [asset["id"] for asset in again] == [content]
    jobs = [
        json.loads(atelier("submit", *words, "--no-reuse", "--name", "n", "--label", "a:b", "--json").stdout)
        for words in (
            (f"asset:{content}", f"asset:{style}"),
            (f"asset:{content}", pictures[1]),
            (pictures[0], f"asset:{style}"),
        )
    ]
    for job in jobs:
        assert [job["input"][part]["asset_id"] for part in ("content", "style")] == [content, style]
        assert (job["name"], job["labels"], job["status"]) == ("n", {"a": "b"}, "queued")
    words = ("submit", f"asset:{content}", pictures[1], "--idempotency-key", "once")
    assert atelier(*words).stdout == atelier(*words).stdout
    shown = atelier("asset", "show", f"asset:{content}").stdout
    assert "content.png" in shown
    assert hashlib.sha256(Path(pictures[0]).read_bytes()).hexdigest() in shown
    assert atelier("asset", "download", content).stdout == f"{content}.png\n"
    assert Path(f"{content}.png").read_bytes() == Path(pictures[0]).read_bytes()
    assert kind(atelier("asset", "download", content, "--small").stdout.strip()) == "JPEG"
    refused = atelier("asset", "download", content, "-o", "a.webp")
    assert (refused.exit_code, "'a.webp' would hold a PNG" in refused.stderr) == (2, True)


def test_pictures_are_starred_and_listed(atelier, pictures):
    assert "There are no pictures yet." in atelier("asset", "list").stderr
    content, style = atelier("asset", "upload", *pictures).stdout.split()
    assert "No picture is starred." in atelier("asset", "list", "--starred").stderr
    for _ in range(2):
        assert atelier("asset", "star", f"asset:{style}").stdout == f"{style}\n"
    shown = atelier("asset", "show", style).stdout
    assert re.search(r"^starred +\d{4}-\d\d-\d\dT\S+Z$", shown, re.MULTILINE), shown
    lines = atelier("asset", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [style, content]
    assert ["★" in line for line in lines] == [True, False]
    assert re.search(r"\d+ × \d+  style\.\w+$", lines[0])
    (found,) = json.loads(atelier("asset", "list", "--starred", "--json").stdout)["assets"]
    assert (found["id"], found["starred_at"] is None) == (style, False)
    assert atelier("asset", "list", "--limit", 1).stdout.splitlines() == lines[:1]
    both = json.loads(atelier("asset", "unstar", style, content, "--json").stdout)["assets"]
    assert [(one["id"], one["starred_at"]) for one in both] == [(style, None), (content, None)]
    assert re.search(r"^starred +no$", atelier("asset", "show", style).stdout, re.MULTILINE)
    refused = atelier("asset", "star", style, _NOBODY)
    assert (refused.exit_code, _NOBODY in refused.stderr) == (2, True)
    assert atelier("asset", "star").exit_code == 2


def test_assets_that_are_none_are_refused(atelier, pictures):
    unknown = atelier("submit", f"asset:{_NOBODY}", pictures[1])
    assert (unknown.exit_code, "content is not kept here any more" in unknown.stderr) == (2, True)
    empty = atelier("submit", "asset:", pictures[1])
    assert (empty.exit_code, "'asset:' names none: write asset:ID" in empty.stderr) == (2, True)
    assert atelier("asset", "show", _NOBODY).exit_code == 2


def test_a_dry_run_stores_nothing(atelier, service, pictures):
    content, style = atelier("asset", "upload", *pictures).stdout.split()
    both = atelier("submit", f"asset:{content}", f"asset:{style}", "--dry-run", "-O", "steps=7")
    assert (both.exit_code, "steps            7" in both.stdout) == (0, True)
    assert re.search(r"^memory           about \d+ MB$", both.stdout, re.MULTILINE)
    mixed = atelier("submit", f"asset:{content}", pictures[1], "--dry-run")
    assert (mixed.exit_code, "a dry run stores nothing" in mixed.stderr) == (2, True)
    assert json.loads(atelier("list", "--json").stdout)["jobs"] == []


def test_a_job_tells_its_attempts(atelier, done):
    line = atelier("attempts", done).stdout
    assert re.fullmatch(r" +1  node-a \(cpu\)  \S+Z from the start, succeeded \S+Z\n", line), line
    assert json.loads(atelier("attempts", done, "--json").stdout)["attempts"][0]["number"] == 1


def test_a_job_that_went_on_elsewhere_says_so(atelier, service, done):
    assert "exact" not in atelier("status", done).stdout
    with service.control.backend.database.write() as session:
        session.execute(update(Job).where(Job.id == done).values(is_exact=False))
        session.execute(update(JobAttempt).values(is_exact=False))
    assert "exact      no: " in atelier("status", done).stdout
    assert atelier("attempts", done).stdout.endswith("; not exact: begun on another kind\n")


def test_a_job_tells_its_events(atelier, service, done):
    lines = atelier("events", done).stdout.splitlines()
    kinds = [line.split()[1] for line in lines]
    assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert (kinds.count("checkpoint"), kinds[0], "output" in kinds) == (4, "status", True)
    told = json.loads(atelier("events", done, "--after", len(lines) - 1, "--json").stdout)["events"]
    assert [event["id"] for event in told] == [len(lines)]
    assert atelier("events", done, "--after", len(lines)).stdout == ""
    assert atelier("events", "ffffffff").exit_code == 2


def test_events_are_told_until_the_job_ends(atelier, service, pictures):
    job_id = atelier("submit", *pictures, *_FEW).stdout.strip()
    service.work(SteadyEngine())
    last = atelier("events", job_id).stdout.splitlines()[-1]
    assert '"status": "succeeded"' in last


def test_an_estimate_needs_no_picture(atelier, done):
    told = atelier("estimate", "-O", "steps=20", "--content", "64x48", "--style", "64×48")
    assert told.exit_code == 0, told.stderr
    assert told.stdout.strip()
    assert json.loads(atelier("estimate", "-O", "preset=quick", "--json").stdout)["message"]
    refused = atelier("estimate", "-O", "steps=0")
    assert (refused.exit_code, "steps is 0" in refused.stderr) == (2, True)


def test_ready_tells_each_part(atelier, service):
    told = atelier("ready")
    assert told.exit_code == 0
    parts = dict(line.split()[:2] for line in told.stdout.splitlines())
    assert parts == dict.fromkeys(("database", "storage", "room", "redis", "control"), "ok")
    assert json.loads(atelier("ready", "--json").stdout)["ready"] is True


def test_a_list_of_a_batch_asks_for_that_batch(atelier, service, pictures):
    job_id = atelier("submit", *pictures).stdout.strip()
    assert json.loads(atelier("list", "--batch", "nobody's", "--json").stdout)["jobs"] == []
    assert "no such jobs" in atelier("list", "--batch", "nobody's").stderr
    atelier("cancel", job_id)
    service.wait_for(job_id, JobStatus.CANCELED)

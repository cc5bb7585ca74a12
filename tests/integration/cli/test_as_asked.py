"""The command line does what it was asked for, all of it, or says at once that it cannot."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.engines import SteadyEngine, WeighingEngine

_FEW = ("-O", "steps=20", "-O", "checkpoint_every=5")


def jobs(atelier, *words):
    return json.loads(atelier("list", *words, "--json").stdout)["jobs"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("missing/out.png", "missing' does not exist"),
        ("out.jpg", "would hold a PNG"),
        ("fifo", "neither a file nor a folder"),
        ("-", "cannot go to standard output"),
        ("content.png/out.png", "content.png' does not exist"),
        (f"{'x' * 300}.png", "cannot be written: File name too long"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_anything_is_sent(
    atelier, pictures, tmp_path, monkeypatch, target, said
):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    for words in (("submit", *pictures), ("fork", "0123", 5), ("extend", "0123", 5), ("retry", "0123")):
        refused = atelier(*words, "-o", target)
        assert refused.exit_code == 2
        assert said in refused.stderr
    assert jobs(atelier) == []
    assert not list(tmp_path.glob(".*"))


def test_submit_prints_the_address_of_the_page_and_the_id_alone_to_standard_output(
    service, atelier, pictures
):
    result = atelier("submit", *pictures)
    job_id = result.stdout.strip()
    assert f"Its page: {service.url}/jobs/{job_id}\n" in result.stderr
    assert service.app.test_client().get(f"/jobs/{job_id}", headers={"Host": "127.0.0.1"}).status_code == 200
    shown = atelier("status", job_id).stdout
    assert f"{service.url}/jobs/{job_id}" in shown


def test_a_dry_run_checks_everything_and_submits_nothing(atelier, pictures):
    shown = atelier("submit", *pictures, "-O", "preset=quick", "--dry-run")
    assert shown.exit_code == 0, shown.stderr
    assert "steps            40" in shown.stdout
    assert json.loads(atelier("submit", *pictures, "--dry-run", "--json").stdout)["options"]["steps"] == 100
    assert atelier("submit", *pictures, "--dry-run", "--wait").exit_code == 2
    assert jobs(atelier) == []


def test_an_id_may_be_shortened_until_it_is_that_of_several(atelier, pictures):
    first, second = (atelier("submit", *pictures, "--no-reuse").stdout.strip() for _ in range(2))
    for text in (first, first.upper(), first[:-1], first[:-1].upper()):
        assert json.loads(atelier("status", text, "--json").stdout)["id"] == first
    common = first[: next(at for at in range(36) if first[at] != second[at])]
    refused = atelier("delete", common)
    assert refused.exit_code == 2
    assert f"'{common}' is the beginning of several jobs: {second}, {first}" in refused.stderr
    assert "shortened to 4 characters" in atelier("cancel", first[:3]).stderr
    assert "no jobs whose id begins with 'ffff%'" in atelier("pause", "ffff%").stderr
    assert atelier("cancel", second[: len(common) + 1]).stdout == "canceled\n"
    assert {job["id"]: job["status"] for job in jobs(atelier)} == {first: "queued", second: "canceled"}


def test_a_list_filters_as_the_api_does(atelier, pictures):
    old = atelier("submit", *pictures, "--name", "A Meadow", "--label", "set:a").stdout.strip()
    new = atelier("submit", *pictures, "--name", "the sea", "--label", "set=a:b").stdout.strip()
    atelier("cancel", new)
    assert [job["id"] for job in jobs(atelier, "--name", "MEADOW")] == [old]
    assert [job["id"] for job in jobs(atelier, "--label", "set:a:b")] == [new]
    assert [job["id"] for job in jobs(atelier, "--status", "queued", "--status", "canceled")] == [new, old]
    assert jobs(atelier, "--created-after", "2999-01-01T00:00:00+01:00") == []
    assert len(jobs(atelier, "--created-after", "2000-01-01T00:00:00+01:00")) == 2
    assert atelier("list").stdout.count(" UTC ") == 2


def test_a_fork_is_made_once_followed_and_its_picture_fetched(service, atelier, pictures, tmp_path):
    service.work(WeighingEngine())
    parent = json.loads(atelier("submit", *pictures, *_FEW, "--wait", "--json").stdout)["id"]
    out = tmp_path / "fork.png"
    words = ("fork", parent[:-2], 10, "-O", "style_weight=0.9", "--idempotency-key", "nightly")
    forked = atelier(*words, "--run-timeout", "100", "-o", out)
    assert forked.exit_code == 0, forked.stderr
    assert forked.stdout == f"{out}\n"
    assert out.read_bytes().startswith(b"\x89PNG")
    again = atelier(*words, "--run-timeout", "100", "--json")
    assert "had this request already" in again.stderr
    fork = json.loads(again.stdout)
    assert (fork["origin"]["job_id"], fork["run_timeout_seconds"]) == (parent, 100)
    assert len(jobs(atelier)) == 2


def test_extend_retry_and_resume_are_followed_too(service, atelier, pictures, tmp_path):
    service.work(SteadyEngine())
    job_id = json.loads(atelier("submit", *pictures, *_FEW, "--wait", "--json").stdout)["id"]
    out = tmp_path / "longer.png"
    words = ("extend", job_id, 5, "--idempotency-key", "five more")
    assert atelier(*words, "-o", out).exit_code == 0
    assert out.exists()
    assert "had this request already" in atelier(*words, "--wait").stderr
    assert json.loads(atelier("status", job_id, "--json").stdout)["options"]["steps"] == 25
    waiting = atelier("submit", *pictures, "-O", "steps=7", "--no-reuse", "--wait")
    assert waiting.exit_code == 0


def test_names_and_labels_are_kept_as_they_are_written(atelier, pictures):
    name = "👩\u200d🎨 می\u200cخواهم ❤\ufe0f"
    job_id = atelier("submit", *pictures, "--name", name, "--label", f"who:{name}").stdout.strip()
    (job,) = jobs(atelier, "--label", f"who:{name}", "--name", name)
    assert (job["id"], job["name"], job["labels"]) == (job_id, name, {"who": name})
    assert name in atelier("status", job_id).stdout
    refused = atelier("submit", *pictures, "--name", "gnp.\u202efdp")
    assert (refused.exit_code, "turns the text around" in refused.stderr) == (2, True)

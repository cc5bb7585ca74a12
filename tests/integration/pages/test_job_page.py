"""What the page of a job shows without scripts."""

from __future__ import annotations

import re

import pytest

from shared.errors import OutOfMemory
from tests.support.seen_job import SeenJob
from web.jobs.estimates import START_ONE

FEW = {"steps": 20, "checkpoint_every": 5, "style_weight": 0.5}
BROWSER = {"Accept": "text/html"}
UNKNOWN = "01a20000-0000-7000-8000-000000000000"


@pytest.fixture
def succeeded(submit, bench) -> str:
    job_id: str = submit(options=FEW, name="Harbour", labels={"series": "town"})["id"]
    bench.work(job_id)
    return job_id


def test_a_queued_job_says_why_it_waits_and_shows_its_content(submit, see):
    job = submit(options=FEW)
    seen = see(job["id"])
    assert f"No worker is connected; {START_ONE}" in seen.parts["standing"]
    assert seen.actions == ["pause", "change", "cancel"]
    assert list(seen.pictures) == [job["input"]["content"]["url"]]
    assert seen.refreshes
    assert seen.title == "Queued · content.png × style.png · Atelier"
    assert (seen.paths, "No worker has taken it yet." in seen.words) == ({}, True)


def test_a_running_job_shows_preview_numbers_and_losses(submit, see, workshop):
    job_id = submit(name="Harbour")["id"]
    workshop.claim(job_id)
    assert see(job_id).title == "0 % · Harbour · Atelier"
    for step in (10, 20):
        workshop.checkpoint(job_id, step, loss={"total": 3.0, "content": 1.0, "style": 2.0})
    workshop.preview(job_id, b"jpeg")
    workshop.progress(job_id, 42, preview_step=42)
    seen = see(job_id)
    assert seen.title == "42 % · Harbour · Atelier"
    assert "step 42 of 100 15 s left 4.0 steps/s" in seen.words
    assert seen.pictures[f"/api/v1/jobs/{job_id}/preview?step=42"] == "Preview of Harbour, step 42"
    assert "On gpu-a (cuda:0)." in seen.parts["standing"]
    assert seen.actions == ["pause", "cancel", "fork"]
    assert re.fullmatch(r"M[\d. ]+L[\d. ]+", seen.paths["total"])
    assert "10 3.00 1.00 2.00 20 3.00 1.00 2.00" in seen.parts["loss-rows"]
    assert "1 gpu-a cuda:0 0" in seen.parts["attempts"]
    assert "under way" in seen.parts["attempts"]
    assert "2 checkpoints, of step 10 to 20" in seen.parts["history"]
    assert "Untrained weights: what that means" in seen.parts["facts"]


def test_a_job_that_pauses_offers_to_pause_no_more(submit, see, press, workshop):
    job_id = submit()["id"]
    workshop.claim(job_id)
    assert press(job_id, "pause").headers["Location"] == f"/jobs/{job_id}"
    seen = see(job_id)
    assert "Pausing" in seen.parts["standing"]
    assert "pause" not in seen.actions


def test_a_failed_job_says_what_to_do_with_retry_beside_it(submit, see, workshop):
    job_id = submit()["id"]
    workshop.claim(job_id)
    error = OutOfMemory("9 GB are too many")
    workshop.fail(job_id, error)
    seen = see(job_id)
    assert seen.parts["error"].strip() == f"{error.title()} 9 GB are too many. {error.suggestion} Retry"
    assert "Retry" not in seen.parts["actions"]
    assert seen.actions == ["retry", "delete"]


def test_a_succeeded_job_is_compared_downloaded_and_extended(succeeded, see, press, bench, client):
    seen = see(succeeded, "?view=compare")
    job = bench.job(succeeded)
    output = f"{job['urls']['output']}?v={job['outputs'][0]['sha256'][:16]}"
    assert seen.pictures[output] == "Result of Harbour"
    assert seen.pictures[job["input"]["content"]["url"]] == "Content: content.png"
    with client.get(output) as answer:
        assert answer.data == bench.output(succeeded)
    assert seen.ids["download"]["href"] == job["urls"]["output"]
    assert seen.ids["download"]["download"] == "Harbour.png"
    assert seen.actions == ["extend", "delete", "fork"]
    assert "/?label=series%3Atown" in client.get(f"/jobs/{succeeded}").text
    assert seen.fields("extend") == {"steps": "50"}
    assert press(succeeded, "extend", steps="5").status_code == 303
    waiting = see(succeeded)
    assert "Download the result so far" in waiting.parts["actions"]
    assert output in waiting.pictures
    bench.work(succeeded)
    assert "step 25 of 25" in see(succeeded).words
    assert "extended at step 20" in see(succeeded).parts["facts"]


def test_an_unknown_job_is_a_page_that_says_so(client, press):
    assert client.get(f"/jobs/{UNKNOWN}", headers=BROWSER).status_code == 404
    for action in ("cancel", "fork", "extend", "delete"):
        assert press(UNKNOWN, action).status_code == 404


def test_a_name_is_text_and_nothing_else(submit, client):
    name = "<img src=x onerror=alert(1)>\"'&"
    job_id = submit(name=name, labels={"a": "<b>"})["id"]
    text = client.get(f"/jobs/{job_id}").text
    assert "<img src=x" not in text
    assert "<b>&" not in text
    assert SeenJob(text).title == f"Queued · {name} · Atelier"


def test_a_step_or_view_that_does_not_exist_shows_the_newest(succeeded, see):
    for query in ("?step=3", "?step=x&view=nothing", "?step=-1", "?step=99999999999999999999"):
        assert "Result of Harbour" in see(succeeded, query).pictures.values()


def test_a_follower_says_and_links_whom_it_waits_for(submit, client, see, parts):
    leader = submit(options=FEW)["id"]
    answer = client.post("/api/v1/jobs", data=parts(options=FEW))
    seen = see(answer.json["id"])
    words = "Waits for the job 'content.png × style.png', which does the same work. See that job."
    assert words in seen.parts["standing"]
    assert f'href="/jobs/{leader}"' in client.get(f"/jobs/{answer.json['id']}").text


def test_a_checkpoint_in_small(succeeded, client):
    url = f"/api/v1/jobs/{succeeded}/checkpoints"
    checkpoint = client.get(url).json["checkpoints"][0]
    small = client.get(f"{checkpoint['url']}/thumbnail?v={checkpoint['sha256'][:8]}")
    assert (small.status_code, small.content_type) == (200, "image/jpeg")
    assert "immutable" in small.headers["Cache-Control"]
    for version in ("", "0" * 8, checkpoint["sha256"][:4]):
        again = client.get(f"{checkpoint['url']}/thumbnail?v={version}")
        assert (again.data, again.headers["Cache-Control"]) == (small.data, "no-cache")
    assert client.get(f"{url}/3/thumbnail").status_code == 404
    assert client.get(f"{url}/99999999999999999999/thumbnail").status_code == 404

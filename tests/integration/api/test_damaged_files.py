"""Files that are no longer what was written: nothing goes on from them, and nobody is given them as whole."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from shared.storage import verify
from tests.support.app import stored_files
from tests.support.bench import Bench
from web.jobs import actions

JOBS = "/api/v1/jobs"
FEW = {"steps": 20, "checkpoint_every": 5, "style_weight": 0.5}


@pytest.fixture
def succeeded(submit, bench: Bench):
    """A job that made 20 steps."""
    job = submit(options=FEW)
    bench.work(job["id"])
    return bench.job(job["id"])


@pytest.fixture
def find(settings) -> Callable[[str], Path]:
    """Find a stored file by a part of its name."""

    def do(part: str) -> Path:
        (found,) = (path for path in stored_files(settings) if part in path.name)
        return found

    return do


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def blank(path: Path) -> None:
    """What a power cut makes of a file that was not synced."""
    path.write_bytes(b"\0" * path.stat().st_size)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = pytest.mark.parametrize("damage", [cut, flip, empty])


@DAMAGES
def test_a_result_that_is_damaged_is_not_given(client, bench, succeeded, find, problem_of, damage):
    url = succeeded["urls"]["output"]
    whole = bench.output(succeeded["id"])
    damage(find("result-"))
    for headers in ({}, {"Range": "bytes=0-7"}, {"If-None-Match": '"other"'}):
        problem = problem_of(client.get(url, headers=headers), 500, "artifact_corrupt")
        assert "retry the job, which goes on from its last checkpoint" in problem["detail"]
    # What it says can be done is done: the result is the same again.
    again = bench.post(succeeded["id"], "retry")
    assert (again["status"], again["progress"]["step"]) == ("queued", 20)
    engine = bench.work(succeeded["id"])
    assert (engine.resumed_from, engine.steps_made) == (20, 0)
    assert bench.output(succeeded["id"]) == whole
    assert bench.job(succeeded["id"])["urls"]["output"] == url


def test_a_result_that_is_gone_can_be_made_again(client, bench, succeeded, find, problem_of):
    find("result-").unlink()
    problem_of(client.get(succeeded["urls"]["output"]), 404, "artifact_missing")
    bench.post(succeeded["id"], "retry", {"from": "zero"})
    assert bench.work(succeeded["id"]).steps_made == 20
    assert bench.output(succeeded["id"])


def test_a_job_whose_result_is_well_is_not_retried(client, bench, succeeded, problem_of):
    problem_of(client.post(f"{JOBS}/{succeeded['id']}/retry", json={}), 409, "invalid_state")
    assert bench.job(succeeded["id"])["version"] == succeeded["version"]


def test_a_large_result_is_known_by_its_size(client, succeeded, find, problem_of, monkeypatch):
    monkeypatch.setattr(verify, "CHEAP_BYTES", 10)
    url = succeeded["urls"]["output"]
    cut(find("result-"))
    problem_of(client.get(url), 500, "artifact_corrupt")


def test_a_file_is_read_once_while_it_stays_the_same(client, succeeded, monkeypatch):
    url = succeeded["urls"]["output"]
    with client.get(url) as response:
        assert response.status_code == 200
    monkeypatch.setattr(verify, "_compare_hashes", None)
    with client.get(url) as response:
        assert response.status_code == 200


@DAMAGES
def test_the_picture_of_a_checkpoint(client, succeeded, find, problem_of, damage):
    url = f"{JOBS}/{succeeded['id']}/checkpoints/10"
    with client.get(url) as whole:
        assert Image.open(io.BytesIO(whole.data)).size == (8, 8)
    damage(find("checkpoint-00010-"))
    problem_of(client.get(url), 500, "artifact_corrupt")
    problem_of(client.get(f"{url}/thumbnail"), 500, "artifact_corrupt")


@DAMAGES
def test_the_picture_of_a_checkpoint_of_an_earlier_release(
    client, submit, workshop, find, problem_of, damage
):
    job_id = submit()["id"]
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 10, is_old=True)
    url = f"{JOBS}/{job_id}/checkpoints/10"
    with client.get(url) as whole:
        assert whole.content_type == "image/png"
    damage(find("checkpoint-00010.png"))
    problem_of(client.get(url), 500, "artifact_corrupt")
    problem_of(client.get(f"{url}/thumbnail"), 500, "artifact_corrupt")


@DAMAGES
def test_a_thumbnail_is_not_made_of_what_is_damaged(client, succeeded, find, problem_of, damage):
    damage(find("result-"))
    problem_of(client.get(succeeded["urls"]["thumbnail"]), 500, "artifact_corrupt")


def test_a_thumbnail_that_is_cut_off_is_made_again(client, succeeded, find):
    url = succeeded["urls"]["thumbnail"]
    first = client.get(url).data
    cut(find("thumbnail-"))
    assert client.get(url).data == first
    assert find("thumbnail-").read_bytes() == first


def test_a_thumbnail_is_shown_also_while_the_disk_is_full(client, succeeded, find, monkeypatch):
    url = succeeded["urls"]["thumbnail"]

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answer = client.get(url)
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    assert client.get(url).data == answer.data
    assert find("thumbnail-").read_bytes() == answer.data


@pytest.mark.parametrize("spoil", [cut, blank])
def test_a_preview_that_is_cut_off_is_none(client, bench, submit, find, problem_of, spoil):
    job_id = submit(options=FEW)["id"]
    bench.work_until(job_id, 8, lambda: bench.post(job_id, "cancel"))
    with client.get(f"{JOBS}/{job_id}/preview") as response:
        assert response.status_code == 200
    spoil(find("preview"))
    problem_of(client.get(f"{JOBS}/{job_id}/preview"), 409, "not_ready")


def test_what_was_verified_is_what_an_extension_begins_with(
    client, bench, succeeded, problem_of, monkeypatch
):
    """Another extension of the job ends meanwhile: its checkpoint is not the one that was read."""
    verify_kept, url = actions.verify_kept, succeeded["urls"]["extend"]

    def then_another(*words: object) -> object:
        kept = verify_kept(*words)
        monkeypatch.setattr(actions, "verify_kept", verify_kept)
        bench.post(succeeded["id"], "extend", {"steps": 5})
        bench.work(succeeded["id"])
        return kept

    monkeypatch.setattr(actions, "verify_kept", then_another)
    problem = problem_of(client.post(url, json={"steps": 5}), 409, "not_ready")
    assert "the job went on while its checkpoint was read" in problem["detail"]
    assert bench.job(succeeded["id"])["progress"]["steps"] == 25


@DAMAGES
def test_an_extension_is_refused_and_the_job_stays_as_it_is(
    client, bench, succeeded, find, problem_of, damage
):
    damage(find("checkpoint-00020.safetensors"))
    problem = problem_of(client.post(succeeded["urls"]["extend"], json={"steps": 5}), 409, "not_ready")
    assert (
        "the file of the checkpoint of step 20 is damaged; kept are those of step 5, 10, 15"
        in problem["detail"]
    )
    assert bench.job(succeeded["id"]) == succeeded
    # The one before is well.
    fork = bench.post(succeeded["id"], "fork", {"step": 15})
    bench.work(fork["id"])
    assert bench.output(fork["id"]) == bench.output(succeeded["id"])


@pytest.mark.parametrize("ask", ["pause", "cancel"])
@DAMAGES
def test_what_begins_with_a_checkpoint_needs_it(client, bench, succeeded, find, problem_of, ask, damage):
    """A fork that stopped before its own first checkpoint, and whose origin was damaged since."""
    fork = bench.post(succeeded["id"], "fork", {"step": 10, "options": {"steps": 40}})
    bench.post(fork["id"], ask)
    before = bench.job(fork["id"])
    damage(find("origin.safetensors"))
    action = "resume" if ask == "pause" else "retry"
    problem = problem_of(client.post(f"{JOBS}/{fork['id']}/{action}", json={}), 409, "not_ready")
    assert (
        "the checkpoint it begins with, that of the job it was forked from, of step 10, is damaged"
        in problem["detail"]
    )
    assert bench.job(fork["id"]) == before


def test_a_checkpoint_of_its_own_will_do(bench, succeeded, find):
    fork = bench.post(succeeded["id"], "fork", {"step": 10, "options": {"steps": 40}})
    bench.work_until(fork["id"], 17, lambda: bench.post(fork["id"], "cancel"))
    cut(find("origin.safetensors"))
    bench.post(fork["id"], "retry")
    assert bench.work(fork["id"]).resumed_from == 17
    assert bench.job(fork["id"])["status"] == "succeeded"


def test_an_extension_that_lost_its_beginning_begins_at_zero(client, bench, succeeded, find, problem_of):
    bench.post(succeeded["id"], "extend", {"steps": 5})
    bench.post(succeeded["id"], "cancel")
    find("checkpoint-00020.safetensors").unlink()
    url = f"{JOBS}/{succeeded['id']}/retry"
    problem = problem_of(client.post(url, json={}), 409, "not_ready")
    assert "its own of step 20, is damaged" in problem["detail"]
    assert "retry it from zero" in problem["detail"]
    bench.post(succeeded["id"], "retry", {"from": "zero"})
    assert bench.work(succeeded["id"]).steps_made == 25


@DAMAGES
def test_an_uploaded_picture(client, find, make_picture, problem_of, damage):
    def upload() -> dict[str, str]:
        return client.post("/api/v1/assets", data={"file": (io.BytesIO(make_picture()), "a.png")}).json

    asset = upload()
    damage(find(asset["sha256"]))
    problem = problem_of(client.get(asset["url"]), 500, "artifact_corrupt")
    assert problem["detail"].endswith("upload the picture once more")
    problem_of(client.get(f"/api/v1/assets/{asset['id']}/thumbnail"), 500, "artifact_corrupt")
    assert upload() == asset
    with client.get(asset["url"]) as response:
        assert (response.status_code, response.data) == (200, make_picture())
    assert client.get(f"/api/v1/assets/{asset['id']}/thumbnail").status_code == 200


def test_a_job_whose_picture_is_damaged_can_be_mended(client, submit, bench, find, make_picture):
    job = submit(options=FEW)
    cut(find(bench.row(job["id"]).content.sha256))
    bench.work(job["id"])
    failed = bench.job(job["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "artifact_corrupt")
    client.post("/api/v1/assets", data={"file": (io.BytesIO(make_picture(seed=1)), "a.png")})
    bench.post(job["id"], "retry")
    bench.work(job["id"])
    assert bench.job(job["id"])["status"] == "succeeded"


def test_a_storage_that_is_not_there_is_no_damage(client, bench, succeeded, settings, problem_of):
    """As when the mount of the web host is gone: nothing is lost, and nothing is begun."""
    storage = settings.data_dir / "storage"
    storage.rename(storage.with_name("aside"))
    storage.mkdir()
    url = f"{JOBS}/{succeeded['id']}"
    problem_of(client.get(f"{url}/output"), 503, "identity_missing")
    problem_of(client.get(f"{url}/checkpoints/10"), 503, "identity_missing")
    for action, body in (("retry", {}), ("extend", {"steps": 5}), ("fork", {"step": 10})):
        problem_of(client.post(f"{url}/{action}", json=body), 503, "identity_missing")
    storage.rmdir()
    storage.with_name("aside").rename(storage)
    assert bench.job(succeeded["id"]) == succeeded

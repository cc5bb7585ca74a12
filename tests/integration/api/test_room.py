"""Too little room on the disks: what would write is refused with what was measured, and leaves nothing."""

from __future__ import annotations

import errno
import io
import os

import pytest

from shared.redis.workers import WorkerBeat, WorkerRegistry
from shared.settings import Settings
from shared.storage.store import Room, is_too_full
from tests.support.app import change_backend, stored_files
from web.backend import decide_room

JOBS, ASSETS = "/api/v1/jobs", "/api/v1/assets"
#: More than any disk has.
MARGIN_BYTES = 2**52


@pytest.fixture
def fill(app, settings: Settings):
    """Let the disks be too full from now on, or well again."""

    def do(margin_bytes: int = MARGIN_BYTES) -> None:
        change_backend(app, settings=settings.model_copy(update={"min_free_bytes": margin_bytes}))

    return do


def test_what_is_too_full():
    settings = Settings(min_free_bytes=100)
    assert is_too_full(Room(1000, 99), settings)
    assert not is_too_full(Room(1000, 100), settings)
    assert not is_too_full(Room(1000, 0), Settings(min_free_bytes=0))
    assert decide_room({}, settings) is None
    assert decide_room({"storage": Room(1000, 100), "database": Room(1000, 100)}, settings) is None
    refusal = decide_room({"storage": Room(1000, 100), "database": Room(1000, 7)}, settings)
    assert "database has 7 of 1000 bytes left" in refusal.detail
    assert "at least 100" in refusal.detail


def test_every_way_to_submit_is_refused_and_leaves_nothing(
    client, fill, parts, make_picture, nothing_left, problem_of
):
    picture = make_picture()
    fill()
    ways = {
        "multipart": lambda: client.post(JOBS, data=parts()),
        "asset": lambda: client.post(ASSETS, data={"file": (io.BytesIO(picture), "a.png")}),
    }
    for send in ways.values():
        answer = send()
        problem = problem_of(answer, 507, "storage_full")
        assert str(MARGIN_BYTES) in problem["detail"]
        assert "ATELIER_MIN_FREE_BYTES" in problem["suggestion"]
        assert answer.headers["Retry-After"]
    form = {
        "content": (io.BytesIO(picture), "a.png"),
        "style": (io.BytesIO(picture), "b.png"),
        "name": "Harbour",
    }
    page = client.post("/new", data=form, headers={"Accept": "text/html"})
    assert page.status_code == 507
    assert str(MARGIN_BYTES) in page.text
    assert 'value="Harbour"' in page.text  # what was typed is not lost
    nothing_left()
    fill(0)
    assert client.post(JOBS, data=parts()).status_code == 202


def test_a_job_of_known_pictures_is_refused_too(client, fill, make_picture, problem_of, settings):
    ids = [
        client.post(ASSETS, data={"file": (io.BytesIO(make_picture(seed=seed)), "a.png")}).json["id"]
        for seed in (1, 2)
    ]
    body = {"content": ids[0], "style": ids[1]}
    before = stored_files(settings)
    fill()
    problem_of(client.post(JOBS, json=body), 507, "storage_full")
    assert client.get(JOBS).json["jobs"] == []
    assert stored_files(settings) == before
    # Nothing is stored by it: whether the request is right can still be asked.
    assert client.post(f"{JOBS}?validate_only=true", json=body).status_code == 200


def test_what_was_accepted_before_is_still_answered(client, fill, parts):
    key = {"Idempotency-Key": "once"}
    first = client.post(JOBS, data=parts(), headers=key)
    fill()
    again = client.post(JOBS, data=parts(), headers=key)
    assert (again.status_code, again.json["id"]) == (202, first.json["id"])


def test_jobs_that_would_go_on_from_files_are_refused_and_stay_as_they_are(
    client, fill, submit, workshop, problem_of, settings
):
    done, failed = submit(options={"steps": 20}), submit(options={"steps": 20})
    workshop.run_through(done["id"])
    workshop.claim(failed["id"])
    workshop.fail(failed["id"])
    before = {job["id"]: client.get(f"{JOBS}/{job['id']}").json for job in (done, failed)}
    files = stored_files(settings)
    fill()
    problem_of(client.post(f"{JOBS}/{done['id']}/extend", json={"steps": 5}), 507, "storage_full")
    problem_of(client.post(f"{JOBS}/{done['id']}/fork", json={"step": 10}), 507, "storage_full")
    problem_of(client.post(f"{JOBS}/{failed['id']}/retry"), 507, "storage_full")
    # What is wrong with the request itself comes first.
    problem_of(client.post(f"{JOBS}/{done['id']}/retry"), 409, "invalid_state")
    problem_of(client.post(f"{JOBS}/nothing/extend", json={"steps": 5}), 404, "not_found")
    assert {job_id: client.get(f"{JOBS}/{job_id}").json for job_id in before} == before
    assert stored_files(settings) == files
    # Reading, and giving room, go on.
    assert client.delete(f"{JOBS}/{failed['id']}").status_code == 204
    fill(0)
    assert client.post(f"{JOBS}/{done['id']}/extend", json={"steps": 5}).status_code == 200


def test_the_form_of_a_job_tells_it_too(client, fill, submit, workshop):
    job = submit(options={"steps": 20})
    workshop.run_through(job["id"])
    fill()
    page = client.post(f"/jobs/{job['id']}/extend", data={"steps": "5"}, headers={"Accept": "text/html"})
    assert page.status_code == 507
    assert str(MARGIN_BYTES) in page.text


def test_a_full_disk_of_temporary_files_is_no_fault_of_ours(client, parts, problem_of, monkeypatch):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    body = parts()
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", full)
    problem = problem_of(client.post(JOBS, data=body), 503, "uploads_unavailable")
    assert "TMPDIR" in problem["detail"]


# Werkzeug leaves the part of the file that is in memory to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("url", [JOBS, ASSETS, "/new"])
def test_no_folder_for_temporary_files(client, problem_of, monkeypatch, url):
    """What a process sees that begins while the folder is full: tempfile finds none it can write to."""

    def none(*_: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    head = b'--x\r\nContent-Disposition: form-data; name="content"; filename="a.png"\r\n\r\n'
    body = head + os.urandom(600_000) + b"\r\n--x--\r\n"  # too much to be kept in memory
    monkeypatch.setattr("tempfile._get_default_tempdir", none)
    monkeypatch.setattr("tempfile.tempdir", None)
    answer = client.post(url, data=body, content_type="multipart/form-data; boundary=x")
    problem = problem_of(answer, 503, "uploads_unavailable")
    assert "TMPDIR" in problem["detail"]
    assert answer.headers["Retry-After"]


def test_workers_and_queue_show_the_room(client, fill, services, settings):
    beat = WorkerBeat(
        worker_id="a", device="cpu", weights="untrained", started_at="2026-01-01T00:00:00Z",
        at="2026-01-01T00:00:00Z", storage_total_bytes=80_000_000_000, storage_free_bytes=12_300_000_000,
    )  # fmt: skip
    WorkerRegistry(services.backend.redis.client, services.backend.redis.names).beat(beat)
    seen = client.get("/api/v1/workers").json
    assert seen["room"]["storage"]["free_bytes"] > 0
    assert seen["room"]["database"]["total_bytes"] > 0
    assert seen["room"]["min_free_bytes"] == settings.min_free_bytes
    assert seen["workers"][0]["storage"] == {"total_bytes": 80_000_000_000, "free_bytes": 12_300_000_000}
    assert seen["message"] is None
    page = client.get("/workers", headers={"Accept": "text/html"}).text
    assert "12.3 GB free of 80.0 GB" in page
    fill()
    for path in ("/api/v1/workers", "/api/v1/queue"):
        assert str(MARGIN_BYTES) in client.get(path).json["message"]
    assert str(MARGIN_BYTES) in client.get("/workers", headers={"Accept": "text/html"}).text

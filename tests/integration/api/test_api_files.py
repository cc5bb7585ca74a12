"""Previews, checkpoints and results of a job over HTTP."""

from __future__ import annotations

import hashlib

FIRST, SECOND = b"\xff\xd8 jpeg 1 \xff\xd9", b"\xff\xd8 jpeg 2 \xff\xd9"
LOSS = {"total": 3.0, "content": 1.0, "style": 2.0}


def test_preview(client, submit, workshop, problem_of):
    job = submit()
    url = job["urls"]["preview"]
    problem = problem_of(client.get(url), 409, "not_ready")
    assert "queued" in problem["detail"]
    workshop.preview(job["id"], FIRST)
    with client.get(url) as response:
        assert (response.data, response.content_type) == (FIRST, "image/jpeg")
        etag = response.headers["ETag"]
    with client.get(url, headers={"If-None-Match": etag}) as same:
        assert same.status_code == 304
    workshop.preview(job["id"], SECOND)
    with client.get(url, headers={"If-None-Match": etag}) as other:
        assert (other.status_code, other.data) == (200, SECOND)


def test_preview_of_the_attempt_before(client, submit, workshop, services):
    job = submit()
    workshop.preview(job["id"], FIRST)
    with services.backend.database.write() as session:
        session.connection().exec_driver_sql("UPDATE jobs SET attempt = 3")
    with client.get(job["urls"]["preview"]) as response:
        assert response.data == FIRST
    workshop.preview(job["id"], SECOND, attempt=3)
    with client.get(job["urls"]["preview"]) as response:
        assert response.data == SECOND


def test_output(client, submit, workshop, problem_of, make_picture):
    picture = make_picture()
    sha256 = hashlib.sha256(picture).hexdigest()
    job = submit(name='Häfen/"am" Meer')
    url = f"{job['urls']['self']}/output"
    problem_of(client.get(url), 409, "not_ready")
    workshop.claim(job["id"])
    workshop.succeed(job["id"], picture, sha256)
    with client.get(url) as response:
        assert (response.status_code, response.data, response.content_type) == (200, picture, "image/png")
        assert response.headers["ETag"] == f'"{sha256}"'
        named = response.headers["Content-Disposition"]
        assert named.startswith("inline; filename=")
        assert "filename*=UTF-8''H%C3%A4fen__am_%20Meer.png" in named
    with client.get(url, headers={"Range": "bytes=0-7"}) as part:
        assert (part.status_code, part.data) == (206, b"\x89PNG\r\n\x1a\n")
    with client.get(url, headers={"If-None-Match": f'"{sha256}"'}) as same:
        assert same.status_code == 304


def test_output_without_a_name_has_the_id(client, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    workshop.succeed(job["id"])
    with client.get(f"{job['urls']['self']}/output") as response:
        assert response.headers["Content-Disposition"] == f"inline; filename={job['id']}.png"


def test_no_output_of_a_failed_job(client, submit, workshop, problem_of):
    job = submit()
    workshop.claim(job["id"])
    workshop.fail(job["id"])
    problem = problem_of(client.get(f"{job['urls']['self']}/output"), 409, "not_ready")
    assert "will have none" in problem["detail"]


def test_output_that_storage_has_lost(client, submit, workshop, services, problem_of):
    job = submit()
    workshop.claim(job["id"])
    workshop.succeed(job["id"])
    services.backend.storage.delete_tree(f"jobs/{job['id']}")
    problem_of(client.get(f"{job['urls']['self']}/output"), 404, "artifact_missing")


def test_the_picture_of_a_checkpoint_of_an_earlier_release(client, submit, workshop, make_picture):
    job, picture = submit(), make_picture(40, 30)
    workshop.claim(job["id"])
    workshop.checkpoint(job["id"], 10, picture, is_old=True)
    workshop.checkpoint(job["id"], 20)
    listed = client.get(job["urls"]["checkpoints"]).json["checkpoints"]
    assert [point["content_type"] for point in listed] == ["image/png", "image/jpeg"]
    with client.get(listed[0]["url"]) as response:
        assert (response.data, response.content_type) == (picture, "image/png")
        assert f"{job['id']}-step-10.png" in response.headers["Content-Disposition"]
    for point in listed:
        small = client.get(f"{point['url']}/thumbnail")
        assert (small.status_code, small.content_type) == (200, "image/jpeg")


def test_checkpoints_and_attempts(client, submit, workshop, problem_of):
    job = submit()
    assert client.get(job["urls"]["checkpoints"]).json == {"checkpoints": []}
    assert client.get(job["urls"]["attempts"]).json == {"attempts": []}
    workshop.claim(job["id"])
    workshop.checkpoint(job["id"], 10, b"ten", loss=LOSS)
    workshop.checkpoint(job["id"], 20, b"twenty", loss=LOSS)
    found = client.get(job["urls"]["checkpoints"]).json["checkpoints"]
    assert [(point["step"], point["content_type"]) for point in found] == [
        (10, "image/jpeg"), (20, "image/jpeg")
    ]  # fmt: skip
    assert found[0]["curve"] == [[10, 3.0, 1.0, 2.0]]
    assert found[0]["losses"] == LOSS
    with client.get(found[1]["url"]) as response:
        assert (response.data, response.content_type) == (b"twenty", "image/jpeg")
        assert f"{job['id']}-step-20.jpg" in response.headers["Content-Disposition"]
        etag = response.headers["ETag"]
    with client.get(found[1]["url"], headers={"If-None-Match": etag}) as same:
        assert same.status_code == 304
    problem_of(client.get(job["urls"]["checkpoints"] + "/15"), 404, "not_found")
    problem_of(client.get(job["urls"]["checkpoints"] + "/99999999999999999999"), 404, "not_found")
    problem_of(client.get(job["urls"]["checkpoints"] + "/x"), 404, "not_found")
    attempts = client.get(job["urls"]["attempts"]).json["attempts"]
    assert [(attempt["number"], attempt["worker_id"], attempt["outcome"]) for attempt in attempts] == [
        (1, "gpu-a", None)
    ]

"""Thumbnails over HTTP: which picture they show, how long they may be kept, and when they go."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.support.app import stored_files

JOBS = "/api/v1/jobs"
RED, GREEN, BLUE = (200, 30, 30), (30, 180, 30), (30, 30, 200)


def plain(colour: tuple[int, int, int], kind: str = "PNG", size: tuple[int, int] = (640, 480)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def shown(answer) -> tuple[int, int, int]:
    """Return a thumbnail's colour, to the nearest of ours."""
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "image/jpeg"
    with Image.open(io.BytesIO(answer.data)) as picture:
        assert max(picture.size) == 384
        pixel = picture.getpixel((5, 5))
    return min(
        (RED, GREEN, BLUE), key=lambda colour: sum(abs(a - b) for a, b in zip(colour, pixel, strict=True))
    )


def url_of(client, job_id: str) -> str:
    return client.get(f"{JOBS}/{job_id}").json["urls"]["thumbnail"]


@pytest.fixture
def job(submit) -> dict:
    return submit(content=plain(RED), style=plain(BLUE))


def test_it_shows_content_then_preview_then_result(client, job, workshop):
    urls = [url_of(client, job["id"])]
    assert shown(client.get(urls[-1])) == RED
    workshop.claim(job["id"])
    workshop.preview(job["id"], plain(BLUE, "JPEG"))
    workshop.progress(job["id"], 10, preview_step=10)
    urls.append(url_of(client, job["id"]))
    assert shown(client.get(urls[-1])) == BLUE
    workshop.succeed(job["id"], plain(GREEN))
    urls.append(url_of(client, job["id"]))
    assert shown(client.get(urls[-1])) == GREEN
    assert len(set(urls)) == 3


def test_it_may_be_kept_as_long_as_it_is_the_newest(client, job, workshop):
    first = url_of(client, job["id"])
    answer = client.get(first)
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    again = client.get(first, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    workshop.claim(job["id"])
    workshop.preview(job["id"], plain(BLUE, "JPEG"))
    workshop.progress(job["id"], 10, preview_step=10)
    for outdated in (first, f"{JOBS}/{job['id']}/thumbnail", f"{JOBS}/{job['id']}/thumbnail?v=x"):
        assert client.get(outdated).headers["Cache-Control"] == "no-cache"


def test_it_is_made_once_and_goes_with_the_job(client, job, workshop, settings, services):
    workshop.claim(job["id"])
    workshop.succeed(job["id"], plain(GREEN))
    url = url_of(client, job["id"])
    client.get(url)
    (result,) = (path for path in stored_files(settings) if path.name.startswith("result-"))
    (small,) = (path for path in stored_files(settings) if path.name.startswith("thumbnail-"))
    # Nothing is decoded any more: what is stored is given.
    result.write_bytes(b"damaged")
    assert client.get(url).data == small.read_bytes()
    assert client.delete(f"{JOBS}/{job['id']}").status_code == 204
    assert not small.exists()


def test_a_result_that_is_gone_is_stood_in_for(client, job, workshop, settings):
    workshop.claim(job["id"])
    workshop.succeed(job["id"], plain(GREEN))
    (result,) = (path for path in stored_files(settings) if path.name.startswith("result-"))
    result.unlink()
    assert shown(client.get(url_of(client, job["id"]))) == RED


def test_a_damaged_result_is_said_to_be(client, job, workshop, problem_of):
    workshop.claim(job["id"])
    workshop.succeed(job["id"], b"damaged")
    problem_of(client.get(url_of(client, job["id"])), 422, "image_invalid")


def test_an_asset_in_small(client, job, settings):
    asset = job["input"]["style"]["asset_id"]
    answer = client.get(f"/api/v1/assets/{asset}/thumbnail")
    assert shown(answer) == BLUE
    assert "immutable" in answer.headers["Cache-Control"]
    assert [path for path in stored_files(settings) if path.name.endswith(".thumbnail.jpg")]


def test_of_what_there_is_not(client, problem_of):
    for path in (f"{JOBS}/x/thumbnail", "/api/v1/assets/x/thumbnail"):
        problem_of(client.get(path), 404, "not_found")

"""The main job over HTTP, with the real processes and the real engine."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.support.service import Service

pytestmark = pytest.mark.acceptance


def submit(client: httpx2.Client, content: bytes, style: bytes, **options: object) -> dict[str, Any]:
    files = {"content": ("content.png", content), "style": ("style.png", style)}
    answer = client.post("/jobs", files=files, data={"options": json.dumps(options)})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"].endswith(answer.json()["id"])
    return answer.json()


def wait_for(
    client: httpx2.Client, job: dict[str, Any], *, until: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Follow a job by long polling until it is as wanted; a job that ends otherwise is a failure."""
    etag = None
    while True:
        headers = {"Prefer": "wait=30"} | ({"If-None-Match": etag} if etag else {})
        answer = client.get(f"/jobs/{job['id']}", headers=headers)
        if answer.status_code == 304:
            continue
        job, etag = answer.json(), answer.headers["ETag"]
        if until(job):
            return job
        assert job["completed_at"] is None, job


def test_two_jobs_one_canceled_one_downloaded(service: Service, make_picture: Callable[..., bytes]):
    content, style = make_picture(64, 48, seed=1), make_picture(48, 64, seed=2)
    with service.client() as client:
        long = submit(client, content, style, steps=2000, size=64)
        short = submit(client, style, content, steps=12, size=48, checkpoint_every=5)
        running = wait_for(client, long, until=lambda job: job["progress"]["step"] >= 1)
        assert running["status"] == "running"
        assert running["attempt"]["worker_id"] == "worker-1"
        assert client.get(f"/jobs/{short['id']}").json()["status"] == "queued"

        assert client.post(f"/jobs/{long['id']}/cancel").json()["status"] in ("canceling", "canceled")
        canceled = wait_for(client, long, until=lambda job: job["status"] == "canceled")
        assert 0 < canceled["progress"]["step"] < 2000
        assert client.get(f"/jobs/{long['id']}/output").status_code == 409

        done = wait_for(client, short, until=lambda job: job["status"] == "succeeded")
        output = client.get(f"/jobs/{short['id']}/output")
        assert hashlib.sha256(output.content).hexdigest() == done["outputs"][0]["sha256"]
        picture = Image.open(io.BytesIO(output.content))
        assert picture.size == (36, 48)
        assert picture.text["atelier:notice"] == "untrained weights"
        assert done["weights"]["notice"] == "untrained weights"
        steps = [
            checkpoint["step"]
            for checkpoint in client.get(f"/jobs/{short['id']}/checkpoints").json()["checkpoints"]
        ]
        assert steps == [5, 10, 12]


def test_events_tell_the_whole_story(service: Service, make_picture: Callable[..., bytes]):
    with service.client() as client:
        job = submit(client, make_picture(seed=3), make_picture(seed=4), steps=6, size=48, checkpoint_every=3)
        names, ids = [], []
        # From the first event on: on a busy machine the job may have begun by now.
        with client.stream("GET", f"/jobs/{job['id']}/events", headers={"Last-Event-ID": "0"}) as stream:
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
                elif line.startswith("id: "):
                    ids.append(int(line.removeprefix("id: ")))
    assert names[0] == names[-1] == "status"
    assert {"attempt", "checkpoint", "output"} <= set(names)
    assert ids == sorted(ids)

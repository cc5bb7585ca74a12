"""Event streams over a restart of the real web process: nothing is missing, and nothing told twice."""

from __future__ import annotations

import json
import signal

import httpx2
import pytest

from tests.support.web_process import WebProcess
from tests.support.workshop import Workshop
from web.jobs.transitions import events_after
from web.services import open_services

pytestmark = pytest.mark.process


@pytest.fixture
def web(settings):
    process = WebProcess(settings.model_copy(update={"web_threads": 4}))
    process.start()
    yield process
    process.end()


@pytest.fixture
def services(settings):
    services = open_services(settings)
    yield services
    services.close()


def submit(web, make_picture):
    files = {name: (name, make_picture(seed=seed)) for seed, name in enumerate(("content", "style"))}
    with web.client() as client:
        return client.post("/api/v1/jobs", files=files).json()


def watch(web, job, last_id):
    """Yield the durable events of a stream: their number, name and data; stop when the line breaks."""
    fields = {}
    headers = {"Last-Event-ID": str(last_id)}
    with web.client() as client, client.stream("GET", job["urls"]["events"], headers=headers) as response:
        try:
            for line in response.iter_lines():
                assert not line.startswith(":"), "nothing but a comment for 15 s"
                name, _, value = line.partition(": ")
                fields[name] = value
                if line:
                    continue
                if "id" in fields:
                    yield int(fields["id"]), fields["event"], json.loads(fields["data"])
                fields = {}
        except httpx2.TransportError:
            return


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("read_before", [1, 4])
def test_nothing_is_missing_and_nothing_told_twice(web, services, make_picture, number, read_before):
    workshop = Workshop(services)
    job = submit(web, make_picture)
    workshop.claim(job["id"])
    for step in (10, 20):
        workshop.checkpoint(job["id"], step)
        workshop.progress(job["id"], step)
    stream = watch(web, job, 0)
    seen = [next(stream) for _ in range(read_before)]
    web.end(number)
    # While it is away the job goes on; what the line still held is read, too.
    seen += list(stream)
    for step in (30, 40):
        workshop.checkpoint(job["id"], step)
    web.start()
    stream = watch(web, job, seen[-1][0])
    seen += [next(stream) for _ in range(7 - len(seen))]
    workshop.checkpoint(job["id"], 50)
    workshop.succeed(job["id"])
    seen += list(stream)  # ends by itself: that was the final status
    with services.backend.database.read() as session:
        events = events_after(session, job["id"], 0)
    assert [(sequence, kind) for sequence, kind, _ in seen] == [(one.sequence, one.type) for one in events]
    for (_, _, data), event in zip(seen, events, strict=True):
        told = {name: value for name, value in event.data.items() if name not in ("key", "picture_key")}
        assert told.items() <= data.items()
    assert seen[-1][2]["job"]["status"] == "succeeded"
    with web.client() as client:
        over = client.get(job["urls"]["events"], headers={"Last-Event-ID": str(seen[-1][0])})
    assert over.status_code == 204

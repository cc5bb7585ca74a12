"""Event streams over a restart of the real web process: nothing is missing, and nothing told twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import httpx2
import pytest

from tests.integration.web.conftest import Workshop
from web.jobs.transitions import events_after
from web.services import open_services

START = """
import os
from shared.settings import load_settings
from web.server import run_web
run_web(load_settings(os.environ))
"""


class WebProcess:
    """The web process as it really runs, on a port of its own; it can be ended and started again."""

    def __init__(self, settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._settings = settings.model_copy(update={"port": self.port, "web_threads": 4})
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            env={"PATH": "", "HOME": str(self._settings.data_dir), **self._settings.to_environ()},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "Booting worker" in line:
                return
        raise AssertionError("".join(said))

    def end(self, number):
        """Send a signal to it, and to its child when it is SIGKILL, and wait until both are gone."""
        if self._process is None:
            return
        if number == signal.SIGKILL:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)
        self._process.stderr.read()  # ends when nobody holds it any more
        self._process.wait()
        self._process.stderr.close()
        self._process = None

    def client(self):
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)


@pytest.fixture
def web(settings):
    process = WebProcess(settings)
    process.start()
    yield process
    process.end(signal.SIGKILL)


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

"""Clients that stand still in any phase of an exchange: nobody else waits for them."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest

from tests.support.slow_clients import PHASES, SlowClients, healthy, make_scene
from tests.support.web_process import WebProcess
from web.services import open_services

_THREADS = 2
_EACH = 20

pytestmark = pytest.mark.process


@pytest.fixture
def server(settings):
    """A running web process with few threads."""
    process = WebProcess(settings.model_copy(update={"web_threads": _THREADS}))
    process.start()
    yield process
    process.end()


def test_others_are_answered_while_all_of_them_are_held(server, make_picture):
    with server.client() as client:
        scene = make_scene(client)
        with SlowClients(server.settings.port, scene) as slow:
            for phase in PHASES:
                for _ in range(_EACH):
                    slow.add(phase)
                healthy(client, scene)
            files = {"file": ("a.png", make_picture())}
            assert client.post("/api/v1/assets", files=files).status_code == 201
            # They are there still, and go on where they stood.
            stream, wait = slow.by_phase["an event stream"][0], slow.by_phase["a wait"][0]
            client.post(f"{scene.job_path}/cancel").raise_for_status()
            assert read_until(stream, b'"canceled"')
            assert b'"canceled"' in read_until(wait, b"}\n")
            upload = slow.by_phase["an upload that stops"][0]
            upload.sendall(b"x" * (900_000 - 200_005))
            assert b" 400 " in read_until(upload, b'"invalid_request"')
            download = slow.by_phase["a download that is not read"][0]
            assert b"IEND" in read_until(download, b"IEND")


def test_a_process_that_ends_ends_them(server):
    with server.client() as client:
        scene = make_scene(client)
        with SlowClients(server.settings.port, scene) as slow:
            for phase in PHASES:
                slow.add(phase)
            server.process.send_signal(signal.SIGTERM)
            for phase in ("silent", "half a head", "an event stream", "a wait"):
                line = slow.by_phase[phase][0]
                with suppress(ConnectionResetError):  # it ends over what it has not read
                    while line.recv(65536):
                        pass
            assert server.wait() == 0
    assert [line for line in server.log if "Traceback" in line] == []


def test_places_are_given_back(server):
    """Who goes away in the middle of a stream or a wait leaves nothing behind."""
    with server.client() as client:
        scene = make_scene(client)
        for _ in range(3):
            with SlowClients(server.settings.port, scene) as slow:
                for _ in range(10):
                    for phase in ("an event stream", "a wait", "a download that is not read"):
                        slow.add(phase)
        healthy(client, scene)
    server.end(signal.SIGTERM)
    assert [line for line in server.log if "Traceback" in line] == []
    assert open_services(server.settings).backend.database.check() is None


def read_until(line, expected):
    got = b""
    while expected not in got:
        data = line.recv(65536)
        assert data, got[-500:]
        got = got[-1000:] + data if len(got) > 100_000 else got + data
    return got

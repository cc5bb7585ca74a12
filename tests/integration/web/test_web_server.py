"""The web process as it really runs: gunicorn in a process of its own."""

from __future__ import annotations

import http.client
import json
import signal
import socket

import pytest

from shared.errors import InvalidSettings
from tests.support.web_process import WebProcess
from web.server import run_web


@pytest.fixture
def server(settings):
    """A running web process."""
    process = WebProcess(settings.model_copy(update={"web_threads": 4}))
    process.start()
    yield process
    process.end()


@pytest.mark.process
def test_serves_and_ends_with_an_open_stream(server, make_picture, settings):
    assert all(json.loads(line) for line in server.log)
    connection = http.client.HTTPConnection("127.0.0.1", server.settings.port, timeout=30)
    head = "--x\r\nContent-Disposition: form-data; name={0}; filename={0}.png\r\n\r\n"
    body = b"".join(
        head.format(name).encode() + make_picture(seed=seed) + b"\r\n"
        for seed, name in enumerate(("content", "style"))
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/api/v1/jobs", body + b"--x--\r\n", kind)
    response = connection.getresponse()
    job = json.load(response)
    assert response.status == 202
    connection.request("GET", job["urls"]["events"])
    stream = connection.getresponse()
    assert (stream.readline(), stream.readline()) == (b"retry: 2000\n", b"id: 1\n")
    server.process.send_signal(signal.SIGTERM)
    stream.read()  # ends by itself, not by a reset
    connection.close()
    code = server.wait()
    rest = "".join(server.log)
    assert code == 0
    assert '"event": "request"' in rest
    assert "Traceback" not in rest
    assert not (settings.data_dir / ".gunicorn").exists()


def test_port_in_use(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidSettings, match=f"127.0.0.1:{port} is in use"):
            run_web(settings.model_copy(update={"port": port}))

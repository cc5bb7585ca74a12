"""The web process as it really runs: gunicorn in a process of its own."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys

import pytest

from shared.errors import InvalidSettings
from web.server import run_web

START = """
import os
from shared.settings import load_settings
from web.server import run_web
run_web(load_settings(os.environ))
"""


@pytest.fixture
def server(settings):
    """A running web process, and the port it listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = settings.model_copy(update={"port": port, "web_threads": 4})
    process = subprocess.Popen(
        [sys.executable, "-c", START],
        env={"PATH": "", "HOME": str(settings.data_dir), **settings.to_environ()},
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "Booting worker" in line:
            break
    yield process, port, lines
    process.kill()
    process.wait()
    process.stderr.close()


def test_serves_and_ends_with_an_open_stream(server, make_picture, settings):
    process, port, lines = server
    assert all(json.loads(line) for line in lines)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
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
    assert stream.readline() == b"retry: 2000\n"
    assert (stream.readline(), stream.readline()) == (b"\n", b"id: 1\n")
    process.send_signal(signal.SIGTERM)
    stream.read()  # ends by itself, not by a reset
    connection.close()
    rest = process.stderr.read()
    assert process.wait() == 0
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

"""Webhooks as docs/webhooks.md has it: from nothing to the first message, with the example receiver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.service import SCRIPTS, Service, run_service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.acceptance
EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
_SETTINGS = {"WEBHOOK_HTTP": "1", "WEBHOOK_NETWORKS": "127.0.0.1/32"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with run_service(tmp_path, **_SETTINGS) as service:
        yield service


def atelier(service: Service, *words: str) -> str:
    """Return what a command prints, as the document has it."""
    command = [str(SCRIPTS / "atelier"), *words]
    done = subprocess.run(
        command, env=service.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_receiver_of_the_examples_hears_how_a_job_ended(service: Service, tmp_path: Path):
    assert all(f"ATELIER_{name}={value}" in DOCUMENT for name, value in _SETTINGS.items())
    port = free_port()
    secret = atelier(service, "webhook", "put", "default", f"http://127.0.0.1:{port}/")
    heard = tmp_path / "heard.txt"
    with heard.open("w") as file:
        command = [sys.executable, str(EXAMPLES / "webhook_receiver.py"), secret, str(port)]
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        receiver = subprocess.Popen(command, stdout=file, env=environ)
    try:
        pictures = [str(EXAMPLES / "content.png"), str(EXAMPLES / "style.png")]
        options = ["-O", "size=96", "-O", "steps=5", "--wait"]
        job_id = atelier(service, "submit", *pictures, *options).splitlines()[-1]
        (line,) = wait_until(lambda: heard.read_text().splitlines(), seconds=60, what="the message")
        assert line.split()[:2] == ["job.succeeded", job_id]

        def delivered() -> list[dict]:
            told = atelier(service, "webhook", "told", "--state", "delivered", "--json")
            return json.loads(told)["deliveries"]

        (delivery,) = wait_until(delivered, seconds=30, what="the log")
        assert (delivery["job_id"], delivery["attempts"]) == (job_id, 1)
    finally:
        receiver.send_signal(signal.SIGTERM)
        receiver.wait(timeout=20)

"""The whole service, started as its users start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from shared.settings import PREFIX
from tests.support.ports import free_port

SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True)
class Service:
    """A running `atelier up`."""

    url: str
    data_dir: Path
    process: subprocess.Popen[str]
    environ: dict[str, str]

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=f"{self.url}/api/v1", timeout=90)


@contextmanager
def run_service(data_dir: Path, *, cache_dir: Path | None = None, **settings: str) -> Iterator[Service]:
    """`atelier up` with one worker and untrained weights, if need be from a cache; Ctrl-C ends it.

    `settings` are others, by the names of their variables without the prefix.
    """
    port = free_port()
    environ = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    environ |= {"ATELIER_VGG19_WEIGHTS": "untrained", "ATELIER_URL": f"http://127.0.0.1:{port}"}
    environ |= {PREFIX + name: value for name, value in settings.items()}
    if cache_dir:
        environ["ATELIER_CACHE_DIR"] = str(cache_dir)
    command = [SCRIPTS / "atelier", "up", "--port", str(port), "--data-dir", data_dir]
    log = (data_dir / "up.log").open("w")
    process = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT, text=True)
    running = Service(environ["ATELIER_URL"], data_dir, process, environ)
    try:
        _wait_until_ready(running)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=120)
        log.close()
    assert code == 0, (data_dir / "up.log").read_text()


def _wait_until_ready(service: Service) -> None:
    """Ask until the service says that it is ready; `up` ending by itself is a failure."""
    transport = httpx2.HTTPTransport(retries=5)
    with httpx2.Client(transport=transport) as client:
        while service.process.poll() is None:
            try:
                if client.get(f"{service.url}/readyz").status_code == 200:
                    return
            except httpx2.ConnectError:
                continue
    raise AssertionError((service.data_dir / "up.log").read_text())

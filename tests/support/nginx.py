"""A real nginx before the web process, with the server block that the docs give."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

from tests.support.waiting import wait_until

_DOCUMENT = Path(__file__).parents[2] / "docs/operations.md"
_SECONDS = 60
_AROUND = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


def documented_block(*, has_login: bool) -> str:
    """Return the server block of the docs, with the two lines for a login of the proxy or without them."""
    block, login = re.findall(r"```nginx\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    place = "    location / {"
    assert block.count(place) == 1
    return str(block.replace(place, f"{login}\n{place}") if has_login else block)


def find_nginx() -> str:
    """Return nginx' own path; where there is none the test is skipped, with CI set it fails."""
    path = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        assert not os.environ.get("CI"), "there is no nginx: what stands behind a proxy cannot be tested"
        pytest.skip("there is no nginx; with CI set this is a failure")
    return path


class Nginx:
    """nginx with one server block, in the foreground; use it in a ``with``."""

    def __init__(self, folder: Path, server: str, *, port: int) -> None:
        self._folder = folder
        self._server = server
        self._port = port
        self._program = find_nginx()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        self._folder.mkdir(exist_ok=True)
        file = self._folder / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        file.write_text(_AROUND.format(folder=self._folder, server=self._server, user=user))
        words = [self._program, "-p", str(self._folder), "-c", str(file), "-e", "stderr"]
        assert not self._answers(), f"port {self._port} is taken"
        self._process = subprocess.Popen(words)
        wait_until(self._listens, seconds=_SECONDS, what="nginx listens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(_SECONDS)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "nginx has ended"
        return self._answers()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


def read_status(lines: Iterator[str]) -> str:
    """Return the status that the next status event tells."""
    is_status = False
    for line in lines:
        if line.startswith("event:"):
            is_status = line == "event: status"
        elif line.startswith("data:") and is_status:
            return str(json.loads(line[5:])["status"])
    raise AssertionError("the stream has ended")

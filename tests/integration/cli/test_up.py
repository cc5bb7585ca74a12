"""`atelier up` and `atelier demo` as people run them: real processes, and none of them left behind."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import httpx2
import pytest
import redis
from click.testing import CliRunner, Result
from PIL import Image

from shared.processes import own_python
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from web.access.tokens import PREFIX
from web.cli.local.host import FolderLock
from web.cli.main import main

_PATIENCE_SECONDS = 60
_ATELIER = str(Path(sys.executable).parent / "atelier")

pytestmark = pytest.mark.acceptance


class Up:
    """A running `atelier up`, and what it says."""

    def __init__(self, folder: Path, *words: str, environ: dict[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.said = ""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
        self.process = subprocess.Popen(
            [_ATELIER, "up", "--port", str(self.port), "--data-dir", str(folder), *words],
            env=plain | environ,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def hear(self, pattern: str) -> None:
        """Read until it has said this."""
        deadline = monotonic() + _PATIENCE_SECONDS
        assert self.process.stderr is not None
        while not re.search(pattern, self.said):
            ready, _, _ = select.select([self.process.stderr], [], [], max(0.0, deadline - monotonic()))
            assert ready, self.said
            data = os.read(self.process.stderr.fileno(), 65536)
            assert data, self.said
            self.said += data.decode()

    def children(self) -> dict[int, str]:
        """The processes that work on this data folder: pid and command line."""
        mark = f"ATELIER_DATA_DIR={self.folder}".encode()
        found = {}
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and int(process.name) != self.process.pid:
                try:
                    words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    # Redis overwrites its environment with its title, but works in its folder.
                    works_here = (process / "cwd").readlink() == self.folder / "redis"
                    if works_here or mark in (process / "environ").read_bytes().split(b"\0"):
                        found[int(process.name)] = words
                except OSError:
                    continue
        return found

    def wait_for_no_children(self) -> None:
        wait_until(lambda: not self.children(), seconds=_PATIENCE_SECONDS, what="the end of all children")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.wait_for_no_children()


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*words: str, **environ: str) -> Up:
        started.append(Up(tmp_path / "data", *words, environ=environ))
        return started[-1]

    yield start
    for up in started:
        up.close()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_up_starts_heals_and_stops_everything(start_up, tmp_path):
    up = start_up("--workers", "0")
    up.hear("Ctrl-C stops everything")
    assert f"Atelier listens on http://127.0.0.1:{up.port}" in up.said
    assert httpx2.get(f"http://127.0.0.1:{up.port}/readyz", trust_env=False).is_success

    second = CliRunner().invoke(
        main, ["up", "--data-dir", str(tmp_path / "data"), "--port", str(free_port())]
    )
    assert second.exit_code == 1
    assert f"in use by another 'atelier' (process {up.process.pid})" in second.stderr

    for name, words in (("redis", "-server "), ("control", "atelier control"), ("web", "atelier web")):
        # The oldest is the one that up started; gunicorn's own child comes later.
        os.kill(min(pid for pid, its in up.children().items() if words in its), signal.SIGKILL)
        up.hear(f"{name} ended with signal SIGKILL; it is started again")
    # A wait of its own: the service is away for a moment.
    wait_until(lambda: _is_ready(up.port), seconds=_PATIENCE_SECONDS)

    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(_PATIENCE_SECONDS) == 0
    assert up.children() == {}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_up_leaves_nothing_running_and_the_next_one_starts(start_up):
    up = start_up("--workers", "0")
    up.hear("Ctrl-C stops everything")
    assert len(up.children()) >= 4  # Redis, web twice, control
    os.killpg(up.process.pid, signal.SIGKILL)
    up.wait_for_no_children()
    again = start_up("--workers", "0")
    again.hear("Ctrl-C stops everything")
    again.process.terminate()
    assert again.process.wait(_PATIENCE_SECONDS) == 0


def test_a_worker_without_weights_says_what_to_do_once_and_the_rest_goes_on(start_up, tmp_path):
    up = start_up(ATELIER_VGG19_WEIGHTS=str(tmp_path / "nothing.h5"))
    up.hear("Ctrl-C stops everything")
    assert "worker-1 ended with exit code 3; it is not started again" in up.said
    assert "ATELIER_VGG19_WEIGHTS" in up.said
    assert "No worker is ready; jobs are accepted and wait for one." in up.said
    assert _is_ready(up.port)
    up.process.terminate()
    assert up.process.wait(_PATIENCE_SECONDS) == 0


def test_workers_are_added_and_started_again_from_another_terminal(start_up, tmp_path):
    def worker(*words: str) -> Result:
        return CliRunner().invoke(main, ["worker", *words, "--data-dir", str(tmp_path / "data")])

    nobody = worker("add")
    assert nobody.exit_code == 1
    assert f"no 'atelier up' works on {tmp_path / 'data'}" in nobody.stderr
    # Its workers end at once: none of them has to load an engine for this.
    up = start_up("--workers", "0", ATELIER_VGG19_WEIGHTS=str(tmp_path / "nothing.h5"))
    up.hear("Ctrl-C stops everything")
    typed = re.search(r"add a worker: +(.*)", up.said)
    assert typed
    assert shlex.split(typed[1])[1:] == ["worker", "add", "--data-dir", str(tmp_path / "data")]
    assert "its Redis:      address in" in up.said
    assert worker("add").stdout == "worker-1 is started\n"
    up.hear(r"worker-1 ended with exit code 3; it is not started again by itself. To start it: .*")
    up.hear("No worker is left: jobs are accepted and wait. Add one: .* worker add")
    assert worker("start", "worker-1").stdout == "worker-1 is started\n"
    up.hear("(?s)worker-1 ended with exit code 3.*worker-1 ended with exit code 3")
    assert json.loads(worker("add", "--json").stdout) == {"answer": "worker-2 is started"}
    unknown = worker("start", "worker-9")
    assert (unknown.exit_code, "worker-9 is unknown here; those that have ended are:" in unknown.stderr) == (
        1,
        True,
    )
    assert list((tmp_path / "data" / "worker-requests").iterdir()) == []


def test_a_taken_port_is_refused_before_anything_is_started(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["up", "--port", str(port), "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert f"port {port} on 127.0.0.1 is taken" in result.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".lock"]


def test_a_part_that_cannot_start_ends_up_with_its_last_words(tmp_path):
    (tmp_path / "file").touch()
    environ = {"ATELIER_STORAGE_URL": f"file://{tmp_path}/file", "ATELIER_REDIS_URL": "redis://127.0.0.1:1/0"}
    words = ["up", "--workers", "0", "--port", str(free_port()), "--data-dir", str(tmp_path / "data")]
    result = CliRunner(env=environ).invoke(main, words)
    assert result.exit_code == 1
    assert re.search("Error: (web|control) ended with exit code 1. The end of .*.log:", result.stderr)
    assert "All processes have stopped." in result.stderr


def test_demo_leaves_draft_result_and_a_sheet_of_all_four_and_nothing_running(tmp_path, untrained_cache):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    environ |= {"ATELIER_VGG19_WEIGHTS": "untrained", "ATELIER_CACHE_DIR": str(untrained_cache)}
    out = tmp_path / "demo"
    (out / "data" / "logs").mkdir(parents=True)
    (out / "data" / "left over").write_text("of an earlier run")
    done = subprocess.run(
        [_ATELIER, "demo", "--steps", "3", "--size", "48", "--out", str(out)],
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "demo: step 3/3" in done.stderr
    assert "Notice: untrained weights" in done.stderr
    assert "/docs#" not in done.stderr  # it has ended, and its pages with it
    assert done.stderr.count("succeeded in ") == 2  # the draft, and the job
    assert f"The sheet of all 4:  {out / 'sheet.png'}" in " ".join(done.stderr.splitlines()[-1:])
    with (
        Image.open(out / "draft.png") as draft,
        Image.open(out / "result.png") as result,
        Image.open(out / "sheet.png") as sheet,
    ):
        assert max(draft.size) == max(result.size) == 48
        assert draft.info["atelier:weights"] == "magenta-int8"
        assert sheet.width > 4 * result.width
    assert not (out / "data" / "left over").exists()
    assert "Traceback" not in done.stderr
    for log in (out / "data" / "logs").glob("*.log"):
        assert not [line for line in log.read_text().splitlines() if _level(line) in ("error", "critical")], (
            log
        )


def test_two_demos_in_one_folder_are_one_too_many(tmp_path):
    with FolderLock(tmp_path, holder="another 'atelier demo'"):
        result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "in use by another 'atelier demo'" in result.stderr


def _is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
    except httpx2.TransportError:
        return False


def _level(line: str) -> str:
    try:
        return str(json.loads(line)["level"])
    except (ValueError, KeyError, TypeError):
        return ""


def test_what_is_written_is_for_its_user_alone_and_tells_no_secret(start_up, tmp_path, make_picture):
    data = tmp_path / "data"
    data.mkdir(mode=0o755)  # as an earlier release made it
    up = start_up("--workers", "0", ATELIER_LOG_BYTES="10000", ATELIER_LOG_FILES="90")
    up.hear("Ctrl-C stops everything")
    redis_url = (data / "redis/url").read_text().strip()
    password = urlsplit(redis_url).password
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(redis_url.replace(f":{password}@", "")).ping()
    environ = {"ATELIER_DATA_DIR": str(data), "ATELIER_REDIS_URL": redis_url}
    token = CliRunner(env=environ).invoke(main, ["token", "create", "me"]).stdout.strip()
    worker = subprocess.Popen(
        own_python("atelier-worker", "run", "--name", "light", "--methods", "fast"),
        env={**os.environ, **environ, "ATELIER_CACHE_DIR": str(tmp_path / "cache")},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{up.port}", trust_env=False, timeout=90) as client:
            shown = {"Authorization": f"Bearer {token}"}
            wait_until(lambda: client.get("/api/v1/jobs").status_code == 401, seconds=_PATIENCE_SECONDS)
            pictures = {"content": make_picture(seed=1), "style": make_picture(seed=2)}
            files = {part: (f"{part}.png", picture) for part, picture in pictures.items()}
            draft = client.post(
                "/api/v1/jobs", data={"kind": "draft"}, files=files, headers={**shown, "Prefer": "wait=50"}
            )
            assert draft.json()["status"] == "succeeded", draft.text
            assert client.post("/signin", data={"token": token}).status_code == 303
            cookie = client.cookies["atelier_session"]
            page = client.get("/")
            csrf = re.search(r'name="csrf-token" content="(\w+)"', page.text)[1]
            wrong = PREFIX + "w" * 43
            assert client.post("/signin", data={"token": wrong}).status_code == 401
            assert client.get(f"/api/v1/jobs/{wrong}", headers={"Authorization": f"Bearer {wrong}"}).is_error
            assert client.get(f"/jobs/{token}").is_error
            asked = [f"request-{number}" for number in range(100)]
            for name in asked:
                assert client.get("/api/v1/queue", headers={**shown, "X-Request-Id": name}).is_success
        up.process.terminate()
        assert up.process.wait(_PATIENCE_SECONDS) == 0
    finally:
        worker.terminate()
        worker.wait(_PATIENCE_SECONDS)
    found = [data, *data.rglob("*")]
    assert any("result" in str(path) and path.suffix == ".png" for path in found)
    for path in found:
        assert path.stat().st_mode & 0o077 == 0, path
    logs = b"".join(path.read_bytes() for path in (data / "logs").iterdir()) + up.said.encode()
    assert b"POST" in logs
    for secret in (token, wrong, cookie, csrf, password):
        assert secret.encode() not in logs
    lines = [
        json.loads(line)
        for path in (data / "logs").glob("web.log*")
        for line in path.read_text().splitlines()
    ]
    assert len(list((data / "logs").glob("web.log*"))) > 2
    assert sorted(line["request_id"] for line in lines if line.get("request_id") in asked) == sorted(asked)

"""Write the archives of a release: ``python -m tests.releases.write NAME COMMIT``.

The release's own code is started from its commit, gets jobs over HTTP, and is killed, Redis included, while
one of them runs. What its data folder holds then is what an upgrade finds after a power cut.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from time import sleep
from typing import Any

import httpx2
from PIL import Image

from tests.releases.release import Release, unpack_release
from tests.support.ports import free_port
from tests.support.weights_file import write_weights_file

_FOLDER = Path(__file__).parent
_PACKAGES = ("shared", "web", "worker")
_STEPS, _EVERY, _STOP_AT = 60, 5, 15


def main() -> None:
    name, commit = sys.argv[1:]
    code = _FOLDER / f"{name}-code.tar.gz"
    with code.open("wb") as file:
        tar = subprocess.run(
            ["git", "archive", "--format=tar", commit, *_PACKAGES], check=True, capture_output=True
        )
        packed = subprocess.run(["gzip", "-9n"], input=tar.stdout, check=True, capture_output=True)
        file.write(packed.stdout)
    with tempfile.TemporaryDirectory() as folder:
        release = unpack_release(name, Path(folder))
        jobs = _write_data(release, Path(folder))
        data = Path(folder) / "data"
        (data / "jobs.json").write_text(json.dumps(jobs, indent=1))
        with tarfile.open(_FOLDER / f"{name}-data.tar.gz", "w:gz") as file:
            file.add(data, "data", filter=_without_logs)
    sys.stdout.write(json.dumps(jobs, indent=1) + "\n")


def _write_data(release: Release, folder: Path) -> dict[str, str]:
    """Bring about jobs in every state that lasts; return their ids by what became of them."""
    port = free_port()
    environ = {
        "ATELIER_VGG19_WEIGHTS": str(write_weights_file(folder / "weights.h5")),
        "ATELIER_URL": f"http://127.0.0.1:{port}",
    }
    words = ["web.cli.main", "up", "--port", str(port), "--data-dir", str(folder / "data")]
    service = release.start(words, environ, log=folder / "up.log")
    try:
        client = _client(port, service, folder)
        jobs = {"succeeded": _submit(client, 1, steps=10)}
        _wait(client, jobs["succeeded"], lambda job: job["status"] == "succeeded")
        jobs["paused"] = _submit(client, 2)
        _wait(client, jobs["paused"], lambda job: job["progress"]["step"] >= _STOP_AT)
        client.post(f"/jobs/{jobs['paused']}/pause").raise_for_status()
        _wait(client, jobs["paused"], lambda job: job["status"] == "paused")
        jobs["canceled"] = _submit(client, 3)
        _wait(client, jobs["canceled"], lambda job: job["progress"]["step"] >= _STOP_AT)
        client.post(f"/jobs/{jobs['canceled']}/cancel").raise_for_status()
        _wait(client, jobs["canceled"], lambda job: job["status"] == "canceled")
        jobs["running"] = _submit(client, 4, preset="bold", steps=_STEPS)
        jobs["queued"] = _submit(client, 5)
        jobs["follower"] = _submit(client, 5)
        _wait(client, jobs["running"], lambda job: job["progress"]["step"] >= _STOP_AT)
    finally:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
        _kill_below(folder)
    return jobs


def _kill_below(folder: Path) -> None:
    """Kill what works below the folder, in whatever session: Redis, and the nodes' processes."""
    for process in Path("/proc").iterdir():
        try:
            is_ours = (process / "cwd").readlink().is_relative_to(folder)
        except (OSError, ValueError):
            continue
        if process.name.isdigit() and is_ours and int(process.name) != os.getpid():
            os.kill(int(process.name), signal.SIGKILL)


def _client(port: int, service: subprocess.Popen[bytes], folder: Path) -> httpx2.Client:
    client = httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60)
    while service.poll() is None:
        try:
            if client.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return client
        except httpx2.TransportError:
            sleep(0.1)
    raise SystemExit((folder / "up.log").read_text())


def _submit(client: httpx2.Client, seed: int, **options: Any) -> str:
    files = {
        part: (f"{part}.png", _picture(seed + number)) for number, part in enumerate(("content", "style"))
    }
    options = {"steps": _STEPS, "size": 48, "checkpoint_every": _EVERY, **options}
    answer = client.post("/jobs", files=files, data={"options": json.dumps(options), "name": f"job {seed}"})
    answer.raise_for_status()
    return str(answer.json()["id"])


def _wait(client: httpx2.Client, job_id: str, done: Any) -> None:
    while not done(client.get(f"/jobs/{job_id}").raise_for_status().json()):
        sleep(0.02)


def _picture(seed: int) -> bytes:
    red = Image.linear_gradient("L").resize((64, 48))
    green = red.transpose(Image.Transpose.ROTATE_180).point(lambda value: (value * 3 + seed * 40) % 256)
    blue = red.point(lambda value: (value * (seed + 2)) % 256)
    buffer = io.BytesIO()
    Image.merge("RGB", (red, green, blue)).save(buffer, format="PNG")
    return buffer.getvalue()


def _without_logs(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return None if entry.name.startswith("data/logs") or entry.name.endswith(".log") else entry


if __name__ == "__main__":
    main()

"""An upgrade: this release goes on with what the first one left, and both work side by side."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shared.protocol import JobMessage
from shared.provenance import Provenance
from shared.settings import Settings
from shared.storage.local import LocalStore
from tests.releases.release import Release, this_release, unpack_data, unpack_release
from tests.support.ports import free_port
from tests.support.service import run_service
from tests.support.waiting import wait_until
from tests.support.weights_file import write_weights_file
from web.cli.local.redis_server import RedisServer
from web.control.dispatcher import message_for
from web.db.database import Database
from web.jobs.queries import get_job
from worker.checkpoint import unpack_checkpoint
from worker.engine.engine import ENGINE_VERSION, StyleEngine
from worker.engine.images import encode_png
from worker.engine.state import EngineState
from worker.engine.weights.source import WeightsChoice
from worker.engine.weights.weights import load_weights

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]
_SECONDS = 240
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.safetensors$")


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights_file(tmp_path_factory.mktemp("weights") / "vgg19.h5")


def wait_for(client: httpx2.Client, job_id: str, status: str) -> dict[str, Any]:
    """Return the job once it has a status; one that failed instead says why."""

    def is_there() -> dict[str, Any] | None:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
        assert job["status"] == status or job["status"] != "failed", job
        return job if job["status"] == status else None

    return wait_until(is_there, seconds=_SECONDS, what=f"job {job_id} is {status}")


def newest_state(store: LocalStore, job_id: str) -> EngineState:
    """Return the state in a job's newest checkpoint."""
    keys = [key for key in store.list(f"jobs/{job_id}") if _CHECKPOINT.search(key)]
    return unpack_checkpoint(
        store.read(max(keys, key=lambda key: _CHECKPOINT.search(key)[1])), fingerprint=None
    )


def alone(engine: StyleEngine, store: LocalStore, message: JobMessage, state: EngineState | None) -> bytes:
    """Return the picture file that the engine alone makes of a job, from a state of it on."""
    content, style = store.read(message.content.key), store.read(message.style.key)
    *_, last = engine.stylize(content, style, message.options, resume=state)
    provenance = Provenance(
        engine_version=ENGINE_VERSION,
        content_sha256=message.content.sha256,
        style_sha256=message.style.sha256,
        options=message.options,
        step=last.step,
        weights=engine.weights.name,
        weights_sha256=engine.weights.sha256,
        notice=engine.weights.mark,
    )
    return encode_png(last.image(), provenance.to_metadata())


def test_what_the_first_release_left_goes_on_to_the_same_bytes(tmp_path: Path, weights_file: Path):
    """Redis is as a power cut left it: a job runs, one is paused, others wait or have ended."""
    data = unpack_data("first", tmp_path)
    jobs: dict[str, str] = json.loads((data / "jobs.json").read_text())
    store = LocalStore(data / "storage")
    states = {name: newest_state(store, jobs[name]) for name in ("paused", "running")}
    (finished,) = (data / "storage" / "jobs" / jobs["succeeded"]).rglob("result-*.png")
    finished_bytes = finished.read_bytes()
    with run_service(data, VGG19_WEIGHTS=str(weights_file)) as service, service.client() as client:
        assert client.get(f"/jobs/{jobs['succeeded']}/output").content == finished_bytes
        assert client.get(f"/jobs/{jobs['canceled']}").json()["status"] == "canceled"
        assert client.get(f"/jobs/{jobs['paused']}").json()["status"] == "paused"
        client.post(f"/jobs/{jobs['paused']}/resume").raise_for_status()
        done = {name: wait_for(client, jobs[name], "succeeded") for name in jobs if name != "canceled"}
        results = {name: client.get(f"/jobs/{jobs[name]}/output").content for name in done}
    for name, state in states.items():
        assert done[name]["attempt"]["resumed_from_step"] == state.step
    assert results["follower"] == results["queued"]
    engine = StyleEngine(load_weights(WeightsChoice("file", weights_file), tmp_path))
    database = Database(Settings(data_dir=data).resolved_database_url)
    for name in ("paused", "running", "queued"):
        with database.read() as session:
            message = message_for(get_job(session, jobs[name]))
        assert results[name] == alone(engine, store, message, states.get(name)), name
    database.close()


@dataclass
class Fleet:
    """Web, control and nodes of two releases on one database, one storage and one Redis."""

    folder: Path
    redis: RedisServer
    environ: dict[str, str]
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=f"{self.environ['ATELIER_URL']}/api/v1", timeout=60)

    def start_service(self, release: Release) -> None:
        for part in ("web", "control"):
            self.start(release, part, ["web.cli.main", part])
        with self.client as client:
            wait_until(lambda: self._answers(client), seconds=_SECONDS, what="the web process answers")

    def start_node(self, release: Release, name: str) -> None:
        self.start(release, name, ["worker.cli.main", "run", "--name", name])

    def start(self, release: Release, part: str, words: list[str]) -> None:
        log = self.folder / f"{part}.log"
        self.parts[part] = release.start(words, self.environ, log=log)

    def stop(self, *parts: str) -> None:
        for part in parts:
            process = self.parts.pop(part)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=_SECONDS)

    def submit(self, make_picture: Any, seed: int, **options: Any) -> str:
        files = {part: (part, make_picture(seed=seed + n)) for n, part in enumerate(("content", "style"))}
        values = {"steps": 6, "size": 48, "checkpoint_every": 2, **options}
        with self.client as client:
            answer = client.post("/jobs", files=files, data={"options": json.dumps(values)})
        return str(answer.raise_for_status().json()["id"])

    def finished_by(self, job_id: str) -> str:
        """Return the name of the node that a job was finished by."""
        with self.client as client:
            return str(wait_for(client, job_id, "succeeded")["attempt"]["worker_id"])

    def node_names(self) -> set[str]:
        with self.client as client:
            listed = client.get("/workers").raise_for_status().json()["workers"] or []
        return {worker["id"] for worker in listed if worker["state"] not in ("starting", "unhealthy")}

    def _answers(self, client: httpx2.Client) -> bool:
        assert self.parts["web"].poll() is None, (self.folder / "web.log").read_text()
        try:
            return client.get(f"{self.environ['ATELIER_URL']}/readyz").status_code == 200
        except httpx2.TransportError:
            return False


@pytest.fixture
def fleet(tmp_path: Path, untrained_cache: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(tmp_path / "redis"))
        port = free_port()
        (tmp_path / "data" / "storage").mkdir(parents=True)
        fleet = Fleet(
            tmp_path,
            server,
            {
                "ATELIER_REDIS_URL": server.url,
                "ATELIER_DATA_DIR": str(tmp_path / "data"),
                "ATELIER_CACHE_DIR": str(untrained_cache),
                "ATELIER_VGG19_WEIGHTS": "untrained",
                "ATELIER_PORT": str(port),
                "ATELIER_URL": f"http://127.0.0.1:{port}",
                "ATELIER_LEASE_SECONDS": "6",
                "ATELIER_RENEW_SECONDS": "1",
            },
        )
        stack.callback(lambda: fleet.stop(*fleet.parts))
        yield fleet


def test_nodes_and_control_of_two_releases_work_together(fleet: Fleet, tmp_path: Path, make_picture):
    first, now = unpack_release("first", tmp_path), this_release()
    fleet.start_service(first)
    fleet.start_node(first, "old")
    assert fleet.finished_by(fleet.submit(make_picture, 1)) == "old"
    fleet.stop("old")

    # A machine that is upgraded before control is.
    fleet.start_node(now, "new")
    assert fleet.finished_by(fleet.submit(make_picture, 2)) == "new"

    # Control is upgraded, and a machine of the first release comes up again beside the new one.
    waiting = fleet.submit(make_picture, 3, steps=4)
    fleet.stop("web", "control")
    fleet.start_service(now)
    fleet.finished_by(waiting)
    fleet.stop("new")
    fleet.start_node(first, "old")
    wait_until(lambda: "old" in fleet.node_names(), seconds=_SECONDS, what="the old node is listed")
    assert fleet.finished_by(fleet.submit(make_picture, 4)) == "old"

    # It is asked to pause, and to drain, under the new control.
    paused = fleet.submit(make_picture, 5, steps=2000)
    with fleet.client as client:
        wait_until(
            lambda: client.get(f"/jobs/{paused}").json()["progress"]["step"] > 0, seconds=_SECONDS,
            what="the old node has begun",
        )  # fmt: skip
        client.post(f"/jobs/{paused}/pause").raise_for_status()
        wait_for(client, paused, "paused")
        client.post("/workers/old/drain").raise_for_status()
    assert fleet.parts["old"].wait(timeout=_SECONDS) == 0
    fleet.start_node(now, "new")
    assert fleet.finished_by(fleet.submit(make_picture, 6)) == "new"

"""Real nodes, each a process of its own, watched and drained over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.settings import Settings
from tests.support.control import running_control
from tests.support.waiting import wait_until
from web.app import create_app
from web.services import services_of

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 30
API = "/api/v1"
Starter = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    """The app, and control in a thread beside it."""
    app = create_app(settings)
    with running_control(settings):
        yield app.test_client()
    services_of(app).close()


def submit(client: FlaskClient, make_picture: Callable[..., bytes], *, steps: int) -> dict[str, Any]:
    data = {
        name: (BytesIO(make_picture(seed=seed)), "a.png") for seed, name in enumerate(("content", "style"))
    }
    response = client.post(f"{API}/jobs", data={**data, "options": f'{{"steps": {steps}}}'})
    assert response.status_code == 202, response.text
    return response.json


def worker(client: FlaskClient, name: str) -> dict[str, Any] | None:
    found = [one for one in client.get(f"{API}/workers").json["workers"] if one["id"] == name]
    return found[0] if found else None


def wait_for(condition: Callable[[], Any]) -> Any:
    return wait_until(condition, seconds=_PATIENCE_SECONDS)


def is_in(client: FlaskClient, name: str, *states: str) -> Callable[[], Any]:
    def look() -> Any:
        found = worker(client, name)
        return found if found and found["state"] in states else None

    return look


def test_a_drained_node_checks_in_ends_with_0_and_another_one_goes_on(client, start, make_picture):
    first = start("first", step_seconds=0.1)
    idle = wait_for(is_in(client, "first", "idle"))
    assert (idle["device"], idle["notice"], idle["job"]) == ("cpu", "no weights at all", None)
    assert idle["memory"]["total_bytes"] > idle["memory"]["used_bytes"] > 0
    job = submit(client, make_picture, steps=400)
    busy = wait_for(is_in(client, "first", "busy"))
    assert (busy["job"]["id"], busy["job"]["steps"]) == (job["id"], 400)
    wait_for(lambda: worker(client, "first")["job"]["step"] > 2)

    assert client.post(busy["urls"]["drain"]).json["state"] == "draining"
    assert first.wait(_PATIENCE_SECONDS) == 0
    assert worker(client, "first") is None
    released = wait_for(lambda: (one := client.get(job["urls"]["self"]).json)["status"] == "queued" and one)
    assert released["progress"]["step"] > 2
    checkpoints = client.get(job["urls"]["checkpoints"]).json["checkpoints"]
    assert checkpoints[-1]["step"] == released["progress"]["step"]
    assert client.get(f"{API}/queue").json["depth"] == 1

    start("second", step_seconds=0.001)
    done = wait_for(lambda: (one := client.get(job["urls"]["self"]).json)["status"] == "succeeded" and one)
    assert done["attempt"]["worker_id"] == "second"
    assert done["attempt"]["resumed_from_step"] == checkpoints[-1]["step"]
    wait_for(is_in(client, "second", "idle"))


def test_after_a_killed_child_the_worker_tells_what_its_next_one_does(client, start, make_picture):
    node = start("node", step_seconds=0.1)
    wait_for(is_in(client, "node", "idle"))
    submit(client, make_picture, steps=400)
    first = wait_for(is_in(client, "node", "busy"))["job"]
    (child,) = children(node.pid)
    os.kill(child, signal.SIGKILL)

    def taken_again() -> Any:
        found = worker(client, "node")["job"]
        return found and found["since"] > first["since"]

    wait_for(taken_again)
    assert worker(client, "node")["job"]["id"] == first["id"]


def test_a_drained_node_that_is_started_again_works(client, start):
    node = start("node")
    found = wait_for(is_in(client, "node", "idle"))
    client.post(found["urls"]["drain"])
    assert node.wait(_PATIENCE_SECONDS) == 0
    again = start("node")
    wait_for(is_in(client, "node", "idle"))
    assert again.poll() is None


@pytest.mark.parametrize("asked_by", ["drain", "SIGTERM"])
def test_a_node_that_loads_its_engine_ends_at_once(client, start, tmp_path, asked_by):
    gate = tmp_path / "never"
    node = start("node", load_gate=str(gate))
    wait_for(gate.with_suffix(".reached").exists)
    found = wait_for(is_in(client, "node", "starting"))
    if asked_by == "drain":
        client.post(found["urls"]["drain"])
    else:
        node.send_signal(signal.SIGTERM)
    assert node.wait(_PATIENCE_SECONDS) == 0
    assert worker(client, "node") is None


def test_a_node_whose_fleet_was_killed_drains(client, settings, start):
    fleet = subprocess.Popen(
        [sys.executable, "-c", _FLEET, settings.model_dump_json()], stdout=subprocess.PIPE, text=True
    )
    pid = int(fleet.stdout.readline())
    wait_for(is_in(client, "node", "idle"))
    fleet.kill()
    fleet.communicate()
    wait_for(lambda: worker(client, "node") is None)
    wait_for(lambda: not is_alive(pid))


#: A process that starts a node as a fleet does, says its id, and waits.
_FLEET = """
import os, signal, sys
from shared.settings import Settings
from tests.support.control import running_control
from tests.support.node import start_node
node = start_node(Settings.model_validate_json(sys.argv[1]), "node", fleet_pid=os.getpid())
print(node.pid, flush=True)
signal.pause()
"""


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_node_that_fails_everything_fails_one_job_at_most_and_rests(client, start, make_picture):
    start("broken", step_seconds=0.01, breaks="raise")
    wait_for(is_in(client, "broken", "idle"))
    jobs = [submit(client, make_picture, steps=3 + number)["urls"]["self"] for number in range(4)]
    resting = wait_for(is_in(client, "broken", "unhealthy"))
    # Its child was replaced each time, and it takes nothing now.
    expected = "it failed 3 jobs in a row; the last: engine_failed: RuntimeError: CUDA"
    assert resting["reason"].startswith(expected)
    assert resting["faults"] == 3
    start("well", step_seconds=0.01)

    def is_done(url: str) -> Any:
        job = client.get(url).json
        return job if job["status"] in ("succeeded", "failed") else None

    done = [wait_for(lambda url=url: is_done(url)) for url in jobs]
    ends = Counter((job["status"], job["attempt"]["worker_id"]) for job in done)
    assert ends.total() == len(jobs)
    # One that it failed three times, while it was the only node there is, it may have failed for good.
    assert ends["succeeded", "well"] >= len(jobs) - 1
    assert ends.keys() <= {("succeeded", "well"), ("failed", "broken")}
    assert worker(client, "broken")["state"] == "unhealthy"


def test_a_node_whose_process_crashes_over_every_job_rests(client, start, make_picture):
    start("crashing", step_seconds=0.01, breaks="crash")
    wait_for(is_in(client, "crashing", "idle"))
    url = submit(client, make_picture, steps=20)["urls"]["self"]

    def in_status(*statuses: str) -> Any:
        job = client.get(url).json
        return job if job["status"] in statuses else None

    # No other node is there to try it.
    failed = wait_for(lambda: in_status("failed"))
    assert failed["error"]["code"] == "engine_failed"
    assert "its process crashed at step 1 (SIGABRT); 3 times at crashing" in failed["error"]["detail"]
    resting = wait_for(is_in(client, "crashing", "unhealthy"))
    assert (resting["faults"], resting["job"]) == (3, None)
    start("well", step_seconds=0.01)
    assert client.post(f"{url}/retry").status_code == 200
    done = wait_for(lambda: in_status("succeeded"))
    assert done["attempt"]["worker_id"] == "well"


def test_a_second_sigterm_ends_a_node_that_does_not_come_back_from_a_step(client, start, make_picture):
    node = start("stuck", step_seconds=3600)
    wait_for(is_in(client, "stuck", "idle"))
    submit(client, make_picture, steps=400)
    wait_for(is_in(client, "stuck", "busy"))
    (child,) = children(node.pid)
    node.terminate()
    wait_for(is_in(client, "stuck", "draining"))
    assert node.poll() is None
    node.terminate()
    assert node.wait(_PATIENCE_SECONDS) == 0
    assert "it was asked to end a second time" in node.stdout.read()
    wait_for(lambda: not is_alive(child))


def test_a_drain_that_was_asked_for_is_no_second_signal(client, start, make_picture):
    node = start("slow", step_seconds=0.5)
    wait_for(is_in(client, "slow", "idle"))
    job = submit(client, make_picture, steps=400)
    busy = wait_for(is_in(client, "slow", "busy"))
    client.post(busy["urls"]["drain"])
    node.terminate()
    assert node.wait(_PATIENCE_SECONDS) == 0
    assert "drain_cut_short" not in node.stdout.read()
    wait_for(lambda: client.get(job["urls"]["self"]).json["status"] == "queued")


def test_a_node_that_does_not_end_in_time_is_ended(client, start, make_picture):
    node = start("stuck", step_seconds=3600, changes={"drain_seconds": 0.5})
    wait_for(is_in(client, "stuck", "idle"))
    submit(client, make_picture, steps=400)
    wait_for(is_in(client, "stuck", "busy"))
    (child,) = children(node.pid)
    node.terminate()
    assert node.wait(_PATIENCE_SECONDS) == 0
    assert "it has not ended within 0.5 s (ATELIER_DRAIN_SECONDS)" in node.stdout.read()
    wait_for(lambda: not is_alive(child))

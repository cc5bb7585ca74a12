"""Real nodes and the methods they serve: what each takes, in which order, and what a light one needs not."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from PIL import Image

from shared.broker import ROUTES, route_for
from shared.options import Method, StyleOptions
from shared.processes import own_python
from shared.protocol import EventType, InputPicture, JobMessage, read_event, read_marker
from shared.redis import Coordination
from shared.redis.names import Names
from shared.settings import Settings
from shared.storage import layout, store_of
from shared.storage.store import ArtifactStore
from tests.support.waiting import wait_until
from worker.deliveries import envelope
from worker.engine.fast.source import find_fast_model

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 120
#: What both processes of a light node may take; TensorFlow alone would take more.
_MOST_BYTES = 300 * 10**6
FAST, BOTH = StyleOptions(method="fast", size=48), StyleOptions(init="fast", steps=3, size=48)
SLOW = StyleOptions(steps=3, size=48)


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return store_of(settings)


@pytest.fixture
def send(
    redis_client: redis.Redis, names: Names, store: ArtifactStore, make_picture: Callable[..., bytes]
) -> Callable[[str, StyleOptions], JobMessage]:
    """Put a job with real pictures into the queue of its route."""
    pictures = []
    for seed in (1, 2):
        data = make_picture(seed=seed)
        sha256 = hashlib.sha256(data).hexdigest()
        store.write(layout.asset_key(sha256), data)
        pictures.append(InputPicture(key=layout.asset_key(sha256), sha256=sha256))

    def do(job_id: str, options: StyleOptions) -> JobMessage:
        message = JobMessage(
            job_id=job_id, attempt=1, content=pictures[0], style=pictures[1], options=options
        )
        queue = names.queue(route_for(options.methods))
        entry = envelope(message.message_id, message.to_json(), queue=queue, tag=message.message_id)
        redis_client.lpush(queue, json.dumps(entry))
        return message

    return do


@pytest.fixture
def reports(shown: Coordination) -> Callable[[], list[tuple[EventType, str]]]:
    """Return all that nodes have reported until now: what, and of which job."""
    seen: list[tuple[EventType, str]] = []

    def look() -> list[tuple[EventType, str]]:
        deliveries = shown.stream.fresh(count=1000)
        shown.stream.acknowledge(deliveries)
        events = [read_event(delivery.text) for delivery in deliveries]
        seen.extend((event.type, event.job_id) for event in events)
        return seen

    return look


@pytest.fixture
def run(settings: Settings) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a worker with these words, as it is started on a machine of its own."""
    nodes: list[subprocess.Popen[str]] = []

    def do(*words: str, **environ: str) -> subprocess.Popen[str]:
        node = subprocess.Popen(
            own_python("atelier-worker", "run", *words),
            env={**os.environ, **settings.to_environ(), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        nodes.append(node)
        return node

    yield do
    for node in nodes:
        if node.poll() is None:
            os.killpg(node.pid, signal.SIGKILL)
        node.communicate()


@pytest.fixture
def light(run: Callable[..., subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A light worker."""
    return run("--name", "light", "--methods", "fast")


def ended(reports: Callable[[], list[tuple[EventType, str]]], *job_ids: str) -> Callable[[], bool]:
    return lambda: {(EventType.SUCCEEDED, job_id) for job_id in job_ids} <= set(reports())


def claimed(reports: list[tuple[EventType, str]]) -> list[str]:
    return [job_id for kind, job_id in reports if kind is EventType.CLAIMED]


def test_a_node_of_both_methods_takes_the_fast_jobs_first(start, send, reports):
    for job_id, options in (("slow", SLOW), ("both", BOTH), ("fast-1", FAST), ("fast-2", FAST)):
        send(job_id, options)
    start(methods=["gatys", "fast"])
    wait_until(ended(reports, "slow", "both", "fast-1", "fast-2"), seconds=_PATIENCE_SECONDS)
    assert claimed(reports()) == ["fast-1", "fast-2", "both", "slow"]


def test_a_node_takes_no_job_of_a_method_that_it_does_not_serve(start, send, reports, shown, names):
    for job_id, options in (("fast", FAST), ("both", BOTH), ("slow", SLOW)):
        send(job_id, options)
    start(methods=["gatys"])
    wait_until(ended(reports, "slow"), seconds=_PATIENCE_SECONDS)
    start("drafts", methods=["fast"])
    wait_until(ended(reports, "fast"), seconds=_PATIENCE_SECONDS)
    assert claimed(reports()) == ["slow", "fast"]
    waiting = {route: shown.client.llen(names.queue(route)) for route in ROUTES}
    assert waiting == {"fast": 0, "both": 1, "any": 0}
    served = {beat.worker_id: beat.methods for beat in shown.workers.alive()}
    assert served == {"node": ["gatys"], "drafts": ["fast"]}


def test_a_light_node_makes_a_fast_job_and_never_loads_tensorflow(
    light, send, reports, store, shown, settings
):
    message = send("job", FAST)
    wait_until(ended(reports, "job"), seconds=_PATIENCE_SECONDS)
    marker = read_marker(store.read(layout.marker_key("job", 1)))
    assert (marker.step, marker.steps, marker.losses) == (1, 1, {})
    assert marker.task_sha256 == message.task_sha256
    picture = store.read(marker.outputs[0].key)
    assert picture.startswith(b"\x89PNG")
    assert hashlib.sha256(picture).hexdigest() == marker.outputs[0].sha256
    sha256 = find_fast_model(settings).sha256
    assert marker.weights == {"name": "magenta-int8", "sha256": sha256, "notice": None}
    with Image.open(io.BytesIO(picture)) as opened:
        told = opened.text
    assert (told["atelier:weights"], told["atelier:weights_sha256"]) == ("magenta-int8", sha256)
    assert "atelier:notice" not in told
    processes = [light.pid, *children_of(light.pid)]
    assert len(processes) > 1
    for process in processes:
        mapped = Path(f"/proc/{process}/maps").read_text()
        assert "tensorflow" not in mapped
    assert "onnxruntime" in mapped
    assert sum(map(pss_bytes, processes)) < _MOST_BYTES
    (beat,) = shown.workers.alive()
    assert (beat.worker_id, beat.methods, beat.device) == ("light", [Method.FAST.value], "cpu")
    light.send_signal(signal.SIGTERM)
    assert light.wait(_PATIENCE_SECONDS) == 0


def test_a_node_that_has_no_model_tells_why_it_serves_the_other_method_alone(run, shown, tmp_path):
    absent = str(tmp_path / "absent")
    run("--name", "gpu", "--gpus", "none", ATELIER_FAST_MODEL=absent)
    wait_until(shown.workers.alive, seconds=_PATIENCE_SECONDS)
    (beat,) = shown.workers.alive()
    assert beat.methods == [Method.GATYS.value]
    assert list(beat.not_served) == [Method.FAST.value]
    assert f"there is no model {absent}" in beat.not_served[Method.FAST.value]


def test_a_node_that_is_to_serve_one_method_lacks_no_other(run, shown, tmp_path):
    run("--name", "gpu", "--gpus", "none", "--methods", "gatys", ATELIER_FAST_MODEL=str(tmp_path / "absent"))
    wait_until(shown.workers.alive, seconds=_PATIENCE_SECONDS)
    (beat,) = shown.workers.alive()
    assert (beat.methods, beat.not_served) == ([Method.GATYS.value], {})


def test_a_node_that_is_to_serve_what_it_has_no_model_for_says_what_to_do(run, tmp_path):
    node = run("--name", "light", "--methods", "fast", ATELIER_FAST_MODEL=str(tmp_path / "absent"))
    said, _ = node.communicate(timeout=_PATIENCE_SECONDS)
    assert node.returncode == 3
    assert f"fast_model_unavailable: there is no model {tmp_path / 'absent'}" in said
    assert "requirements/fast.txt" in said


def pss_bytes(process: int) -> int:
    """Return what a process takes, its share of what it has in common with others."""
    told = Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB$", told, re.MULTILINE)[1]) * 1024


def children_of(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in listed.split()]

"""Two installations side by side on one Redis: neither sees, takes or spoils what is the other's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from shared.settings import Settings
from tests.support.control import running_control
from tests.support.node import start_node
from tests.support.waiting import wait_until
from web.app import create_app
from web.services import Services, services_of

pytestmark = pytest.mark.process

API = "/api/v1"
_PATIENCE_SECONDS = 60


class House:
    """One installation: its web app, its control in a thread, and one node of the name that both have."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        app = create_app(settings)
        self.services: Services = services_of(app)
        stack.callback(self.services.close)
        self.client: FlaskClient = app.test_client()
        stack.enter_context(running_control(settings))
        self.node = start_node(settings, "node")
        stack.callback(end, self.node)

    @property
    def id(self) -> str:
        return self.services.backend.identity.installation.id

    def submit(self, picture: Callable[..., bytes], seed: int, *, steps: int = 3) -> str:
        data: dict[str, Any] = {
            part: (BytesIO(picture(seed=seed + n)), "a.png") for n, part in enumerate(("content", "style"))
        }
        answer = self.client.post(f"{API}/jobs", data={**data, "options": f'{{"steps": {steps}}}'})
        assert answer.status_code == 202, answer.text
        return str(answer.json["id"])

    def status(self, job_id: str) -> str:
        return str(self.client.get(f"{API}/jobs/{job_id}").json["status"])

    def workers(self) -> list[str]:
        return [worker["id"] for worker in self.client.get(f"{API}/workers").json["workers"]]


def end(node: subprocess.Popen[str]) -> None:
    if node.poll() is None:
        os.killpg(node.pid, signal.SIGKILL)
    node.communicate()


@pytest.fixture
def houses(settings: Settings, tmp_path: Path) -> Iterator[tuple[House, House]]:
    with ExitStack() as stack:
        yield tuple(
            House(settings.model_copy(update={"data_dir": tmp_path / name}), stack) for name in ("a", "b")
        )


def test_each_does_its_own_jobs_alone(houses, redis_client: redis.Redis, make_picture):
    a, b = houses
    jobs = [(house, house.submit(make_picture, seed)) for seed in range(4) for house in houses]
    for house, job_id in jobs:
        wait_until(
            lambda house=house, job_id=job_id: house.status(job_id) in ("succeeded", "failed"),
            seconds=_PATIENCE_SECONDS, what=f"{job_id} has ended",
        )  # fmt: skip
        assert house.status(job_id) == "succeeded"
        with house.client.get(f"{API}/jobs/{job_id}/output") as output:
            assert output.status_code == 200
        (other,) = {a, b} - {house}
        assert other.client.get(f"{API}/jobs/{job_id}").status_code == 404
    assert a.workers() == b.workers() == ["node"]

    # What one asks of its node, the other's of the same name does not do.
    a.client.post(f"{API}/workers/node/drain")
    assert a.node.wait(timeout=_PATIENCE_SECONDS) == 0
    late = a.submit(make_picture, 9)
    more = b.submit(make_picture, 9)
    wait_until(lambda: b.status(more) == "succeeded", seconds=_PATIENCE_SECONDS, what="b goes on")
    assert a.status(late) == "queued"
    assert b.node.poll() is None

    names = [str(name) for name in redis_client.scan_iter("*")]
    assert names
    assert [name for name in names if a.id not in name and b.id not in name] == []

"""A host: the nodes that one command starts, as real processes, over what befalls them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.processes import is_gone, own_python
from shared.redis import Coordination
from shared.redis.names import Names
from shared.redis.workers import WorkerBeat
from shared.settings import Settings
from tests.support.waiting import wait_until
from web.cli.local.redis_server import RedisServer
from worker.engine.machine import usable_processors

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 120
#: What Celery logs of it.
_AWAY = "Cannot connect to redis://"
FIRST, SECOND = "host-cpu-1", "host-cpu-2"


@pytest.fixture
def redis_of_its_own(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may stop."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


class Host:
    """The processes of one host, with what they log, and what others see of its nodes."""

    def __init__(self, settings: Settings, names: Names, folder: Path) -> None:
        self.settings = settings
        self.log = folder / "host.log"
        self.health = folder / "healthy"
        self.seen = Coordination.connect(settings, names).workers
        words = [
            *("--name", "host", "--gpus", "none", "--nodes-per-gpu", "2", "--methods", "fast"),
            *("--labels", "zone=a,class=small"),
        ]
        environ = {**os.environ, **settings.to_environ(), "ATELIER_HEALTH_FILE": str(self.health)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                own_python("atelier-worker", "run", *words),
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def beats(self) -> dict[str, WorkerBeat]:
        return {beat.worker_id: beat for beat in self.seen.alive()}

    def both(self, state: str) -> dict[str, WorkerBeat]:
        """Wait until both nodes are in a state, and return their beats."""

        def look() -> dict[str, WorkerBeat] | None:
            found = self.beats()
            return found if [beat.state for beat in found.values()] == [state, state] else None

        return self.wait(look, f"both are {state}")

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        def look() -> Any:
            assert self.process.poll() is None, self.log.read_text()
            return condition()

        return wait_until(look, seconds=_PATIENCE_SECONDS, what=what)

    def count(self, words: str) -> int:
        return self.log.read_text().count(words)

    def end(self) -> None:
        """Kill what a failed test leaves: the nodes end by themselves once their parent is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def host(settings: Settings, names: Names, redis_of_its_own: RedisServer, tmp_path: Path) -> Iterator[Host]:
    host = Host(settings.model_copy(update={"redis_url": redis_of_its_own.url}), names, tmp_path)
    yield host
    host.end()


def test_nodes_share_the_processors_one_that_dies_is_started_again_and_all_drain(host: Host):
    both = host.both("idle")
    assert set(both) == {FIRST, SECOND}
    assert {tuple(beat.labels.items()) for beat in both.values()} == {(("zone", "a"), ("class", "small"))}
    assert {beat.device for beat in both.values()} == {"cpu"}
    threads = re.findall(r'"threads": (\d+)', host.log.read_text())
    assert threads == [str(max(1, usable_processors() // 2))] * 2

    os.killpg(int(both[SECOND].process.split()[2]), signal.SIGKILL)
    host.wait(
        lambda: (now := host.beats().get(SECOND)) and now.run != both[SECOND].run and now.state == "idle",
        "the one that was killed is back",
    )
    assert host.beats()[FIRST].run == both[FIRST].run
    assert '"again_in_seconds": 0.5' in host.log.read_text()

    processes = [beat.process for beat in host.beats().values()]
    host.process.terminate()
    assert host.process.wait(_PATIENCE_SECONDS) == 0
    assert all(is_gone(process) for process in processes)
    assert host.beats() == {}


def test_a_host_that_loses_redis_waits_says_so_and_comes_back_by_itself(
    host: Host, redis_of_its_own: RedisServer
):
    before = host.both("idle")
    host.wait(host.health.exists, "it says that it is well")
    redis_of_its_own.stop()
    host.wait(lambda: host.count(_AWAY) >= 2, "both say that Redis is away")
    host.health.unlink()
    host.wait(lambda: host.count(_AWAY) >= 4, "both have tried again")
    assert not host.health.exists()
    redis_of_its_own.start()
    host.wait(
        lambda: (
            (now := host.beats())
            and set(now) == set(before)
            and all(now[name].mark != before[name].mark for name in now)
        ),
        "both beat again",
    )
    after = host.both("idle")
    assert {name: beat.run for name, beat in after.items()} == {
        name: beat.run for name, beat in before.items()
    }
    host.wait(host.health.exists, "it says that it is well")


def test_nodes_whose_host_is_killed_end_though_redis_is_away(host: Host, redis_of_its_own: RedisServer):
    processes = [beat.process for beat in host.both("idle").values()]
    redis_of_its_own.stop()
    host.wait(lambda: host.count(_AWAY) >= 2, "both say that Redis is away")
    host.process.kill()
    wait_until(
        lambda: all(is_gone(process) for process in processes),
        seconds=_PATIENCE_SECONDS,
        what="no node is left",
    )


def test_a_host_that_loses_its_storage_waits_says_so_and_comes_back_by_itself(host: Host):
    before = host.both("idle")
    root = host.settings.data_dir / "storage"
    root.rename(root.with_name("unmounted"))
    lost = host.both("unhealthy")
    assert all(beat.reason for beat in lost.values())
    assert host.count('"node_unhealthy"') == 2
    host.health.unlink(missing_ok=True)
    heard = {name: beat.stamp for name, beat in host.beats().items()}
    host.wait(
        lambda: all(beat.stamp != heard[name] for name, beat in host.beats().items()), "each has beaten since"
    )
    assert not host.health.exists()
    root.with_name("unmounted").rename(root)
    after = host.both("idle")
    assert {beat.run for beat in after.values()} == {beat.run for beat in before.values()}
    host.wait(host.health.exists, "it says that it is well")


def test_a_second_host_of_the_same_name_is_refused_in_words_and_takes_over_when_the_first_has_gone(
    host: Host, names: Names, tmp_path: Path
):
    first = host.both("idle")
    (tmp_path / "second").mkdir()
    second = Host(host.settings, names, tmp_path / "second")
    try:
        second.wait(
            lambda: second.log.read_text().count("is running already, on ") >= 2, "both are refused in words"
        )
        assert {beat.run for beat in host.beats().values()} == {beat.run for beat in first.values()}
        host.process.terminate()
        assert host.process.wait(_PATIENCE_SECONDS) == 0
        second.both("idle")
        second.process.terminate()
        assert second.process.wait(_PATIENCE_SECONDS) == 0
    finally:
        second.end()

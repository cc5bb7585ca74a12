"""A node whose machine does not see the storage waits, takes no jobs, and says why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from shared.clock import utc_now
from shared.installation import Installation, write_identity
from shared.processes import StopSignal
from shared.protocol import PROTOCOL, new_id
from shared.redis import Coordination
from shared.redis.names import FIRST_NAMES, Names
from shared.redis.workers import WorkerBeat, WorkerState
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.local import LocalStore
from tests.support.waiting import wait_until
from worker import arrival
from worker.arrival import wait_for_names

_SECONDS = 30


@pytest.fixture
def beat() -> WorkerBeat:
    now = utc_now()
    return WorkerBeat(worker_id="a", device="cpu", weights="w", protocol=PROTOCOL, started_at=now, at=now)


def waiting(settings: Settings, beat: WorkerBeat, stopping: StopSignal, **more: Any) -> Callable[[], Any]:
    """Wait in a thread; return what gives its answer."""
    found: list[Names | None] = []
    thread = threading.Thread(
        target=lambda: found.append(wait_for_names(settings, beat, stopping=stopping, **more))
    )
    thread.start()

    def answer() -> Names | None:
        thread.join(_SECONDS)
        return found[0]

    return answer


def told(settings: Settings) -> WorkerBeat | None:
    alive = Coordination.connect(settings, FIRST_NAMES).workers.alive()
    return alive[0] if alive else None


@pytest.mark.parametrize("mount_point", [False, True])
def test_it_says_so_until_the_storage_is_mounted(settings: Settings, beat: WorkerBeat, mount_point: bool):
    root = settings.data_dir / "storage"
    if mount_point:
        root.mkdir(parents=True)
    answer = waiting(settings, beat, StopSignal())
    seen = wait_until(lambda: told(settings), seconds=_SECONDS)
    assert seen.state is WorkerState.UNHEALTHY
    assert "not mounted" in str(seen.reason)
    assert not seen.takes_jobs
    store = store_of(settings)
    store.make_root()
    installation = Installation(id=new_id())
    write_identity(store, installation)
    assert answer() == installation.names
    assert told(settings) is None


def test_a_storage_that_hangs_is_told_and_waited_for(
    settings: Settings, beat: WorkerBeat, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(arrival, "_ANSWER_SECONDS", 0.05)
    answers = threading.Event()

    class Hanging(LocalStore):
        """As a mount whose server is gone for a while."""

        def read(self, key: str) -> bytes:
            assert answers.wait(_SECONDS)
            return super().read(key)

    store = Hanging(settings.data_dir / "storage")
    store.make_root()
    installation = Installation(id=new_id())
    write_identity(store, installation)
    answer = waiting(settings, beat, StopSignal(), store=store)
    seen = wait_until(lambda: told(settings), seconds=_SECONDS)
    assert (seen.state, seen.reason) == (WorkerState.UNHEALTHY, "the storage does not answer")
    answers.set()
    assert answer() == installation.names


def test_it_can_be_stopped_and_drained_meanwhile(settings: Settings, beat: WorkerBeat):
    stopping = StopSignal()
    answer = waiting(settings, beat, stopping)
    wait_until(lambda: told(settings), seconds=_SECONDS)
    stopping.set()
    assert answer() is None
    answer = waiting(settings, beat, StopSignal())
    wait_until(lambda: told(settings), seconds=_SECONDS)
    Coordination.connect(settings, FIRST_NAMES).workers.drain("a")
    assert answer() is None
    assert told(settings) is None

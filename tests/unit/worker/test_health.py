"""When a node is unhealthy, who is to blame for an error, and how it gets well again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from shared.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    AtelierError,
    CheckpointInvalid,
    EngineFailed,
    LossNotFinite,
    OutOfMemory,
    PictureInvalid,
    RunTimeout,
    StorageUnavailable,
)
from shared.installation import IDENTITY_KEY, Installation, write_identity
from shared.storage.local import LocalStore
from worker.health import Blame, Health, decide_blame, decide_pause_seconds
from worker.node_state import NodeState

OURS = Installation(id="ours")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "storage")
    store.make_root()
    write_identity(store, OURS)
    return store


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(store: LocalStore, clock: Clock) -> Callable[[NodeState], Health]:
    """A maker of the health of a node, which looks only when a test lets it."""

    def make(node_state: NodeState) -> Health:
        return Health(store, OURS.names, node_state, clock=clock, look_seconds=3600)

    return make


@pytest.mark.parametrize(
    ("error", "blame"),
    [
        (PictureInvalid("x"), Blame.JOB),
        (LossNotFinite("x"), Blame.JOB),
        (OutOfMemory("x"), Blame.EITHER),
        (RunTimeout("x"), Blame.JOB),
        (CheckpointInvalid("x"), Blame.JOB),
        (EngineFailed("x"), Blame.NODE),
        (ArtifactMissing("x"), Blame.NODE),
        (ArtifactCorrupt("x"), Blame.NODE),
        (RuntimeError("CUDA"), Blame.NODE),
        (MemoryError(), Blame.NODE),
        (AssertionError(), Blame.NODE),
    ],
)
def test_who_is_to_blame(error: Exception, blame: Blame):
    assert decide_blame(error, is_reading=False) is blame


def test_what_is_wrong_while_files_are_read_may_be_wrong_for_this_node_alone():
    for error in (ArtifactMissing("x"), CheckpointInvalid("x"), PictureInvalid("x")):
        assert decide_blame(error, is_reading=True) is Blame.NODE


def test_the_third_fault_in_a_row_makes_it_rest_and_each_more_for_longer():
    pauses = [decide_pause_seconds(count) for count in range(9)]
    assert pauses == [0, 0, 0, 60, 120, 240, 480, 900, 900]
    assert decide_pause_seconds(10**6) == 900


def test_three_faults_in_a_row(health: Callable[[NodeState], Health], clock: Clock):
    node_state = NodeState()
    node = health(node_state)
    error = EngineFailed("CUDA_ERROR_LAUNCH_FAILED")
    node.fail(error)
    node.fail(error)
    assert node.wait(0)
    node.succeed()
    node.fail(error)
    node.fail(error)
    assert (node.wait(0), node_state.read().unhealthy) == (True, None)
    node.fail(error)
    assert not node.wait(0)
    assert node_state.read().unhealthy == (
        "it failed 3 jobs in a row; the last: engine_failed: CUDA_ERROR_LAUNCH_FAILED"
    )
    assert node_state.faults == 5
    clock.seconds += 59
    assert not node.look()
    clock.seconds += 1
    assert node.look()
    assert (node.wait(0), node_state.read().unhealthy) == (True, None)
    # One more job is tried; if that fails as well, the rest is longer.
    node.fail(error)
    clock.seconds += 119
    assert not node.look()
    clock.seconds += 1
    assert node.look()


def test_a_new_child_of_an_unhealthy_node_is_unhealthy(health: Callable[[NodeState], Health], clock: Clock):
    node_state = NodeState()
    first = health(node_state)
    for _ in range(3):
        first.fail(EngineFailed("x"))
    node_state.begin()
    second = health(node_state)
    node_state.be_ready(None)
    assert not second.wait(0)
    assert "3 jobs in a row" in (node_state.read().unhealthy or "")
    clock.seconds += 60
    assert second.look()
    assert node_state.read().unhealthy is None


def test_a_lost_storage_is_waited_for_until_a_write_succeeds(
    health: Callable[[NodeState], Health], store: LocalStore
):
    node_state = NodeState()
    node = health(node_state)
    node.lose_storage(StorageUnavailable("storage failed at jobs/j: No space left on device"))
    assert not node.wait(0)
    assert "No space left on device" in (node_state.read().unhealthy or "")
    check = store.root / "check"
    check.write_bytes(b"")  # in the way of every write
    assert not node.look()
    check.unlink()
    assert node.look()
    assert node.wait(0)


@pytest.mark.parametrize("content", [None, b'{"id": "theirs"}', b"damaged"])
def test_a_storage_that_is_not_ours_is_not_used(
    health: Callable[[NodeState], Health], store: LocalStore, content: bytes | None
):
    node = health(NodeState())
    node.check_storage(store)
    store.delete(IDENTITY_KEY)
    if content is not None:
        store.write(IDENTITY_KEY, content)
    with pytest.raises(AtelierError) as raised:
        node.check_storage(store)
    node.lose_storage(raised.value)
    assert not node.look()
    store.write(IDENTITY_KEY, OURS.model_dump_json().encode())
    assert node.look()


def test_an_error_that_nobody_knows_does_not_end_its_looks(store: LocalStore):
    class Odd(LocalStore):
        """Fails once in a way that no storage should."""

        def check(self) -> None:
            self.check = super().check
            raise ValueError("a bug")

    node = Health(Odd(store.root), OURS.names, NodeState(), look_seconds=0.01)
    node.lose_storage(StorageUnavailable("it does not answer"))
    assert node.wait(20)


def test_it_gets_well_by_itself(store: LocalStore):
    looked = Event()

    class Watched(LocalStore):
        """Tells that it was looked at."""

        def check(self) -> None:
            try:
                super().check()
            finally:
                looked.set()

    node_state = NodeState()
    node = Health(Watched(store.root), OURS.names, node_state, look_seconds=0.01)
    check = store.root / "check"
    check.write_bytes(b"")
    node.lose_storage(StorageUnavailable("it does not answer"))
    assert looked.wait(20)
    assert not node.wait(0)
    check.unlink()
    assert node.wait(20)
    assert node_state.read().unhealthy is None

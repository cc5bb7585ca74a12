"""When a node takes messages, and what it tells when it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event, Semaphore

import pytest

from shared.errors import IdentityMissing, IdentityWrong, ServiceError
from shared.installation import Installation, write_identity
from shared.redis.names import Names
from shared.settings import Settings
from shared.storage import open_store
from shared.storage.local import LocalStore
from shared.storage.store import Room
from worker.intake import Intake, IntakeFacts, StorageWatch, decide_intake, decide_no_room
from worker.node_state import NodeState

FREE = IntakeFacts(
    is_ready=True,
    is_draining=False,
    is_named=True,
    is_holding=False,
    is_taking=True,
    sight_age_seconds=0.5,
)


def decide(**changes: object) -> Intake:
    return decide_intake(replace(FREE, **changes))


def test_a_node_that_can_work_takes_messages():
    assert decide() == decide(is_taking=False) == Intake(True)


@pytest.mark.parametrize(
    "lack",
    [{"is_ready": False}, {"is_named": False}, {"is_draining": True}, {"sight_age_seconds": None}],
    ids=str,
)
def test_a_node_that_is_not_ready_takes_none_and_that_is_no_fault(lack):
    assert decide(**lack) == Intake(False)


def test_an_unhealthy_node_takes_none_and_says_why():
    assert decide(unhealthy="no storage") == Intake(False, "no storage")
    assert decide(unhealthy="it cannot be loaded", is_ready=False).reason == "it cannot be loaded"
    assert decide(unhealthy="no storage", is_draining=True) == Intake(False)


def test_a_node_whose_storage_is_too_full_takes_none_and_says_why():
    assert decide(no_room="7 bytes are left") == Intake(False, "7 bytes are left")
    assert decide(no_room="7 bytes are left", is_holding=True).taking is False
    assert decide(no_room="7 bytes are left", unhealthy="no storage").reason == "no storage"
    assert decide(no_room="7 bytes are left", is_draining=True) == Intake(False)


def test_what_is_too_little_room():
    settings = Settings(min_free_bytes=100)
    assert decide_no_room(None, settings) is None
    assert decide_no_room(Room(1000, 100), settings) is None
    said = decide_no_room(Room(1000, 99), settings)
    assert "99 of 1000 bytes" in said
    assert "at least 100" in said
    assert decide_no_room(Room(1000, 0), Settings(min_free_bytes=0)) is None


def test_a_storage_that_hangs_is_noticed_unless_there_is_a_job_to_notice_it():
    assert decide(sight_age_seconds=14.0) == Intake(True)
    assert decide(sight_age_seconds=16.0) == Intake(False, "the storage does not answer")
    assert decide(sight_age_seconds=16.0, is_holding=True) == Intake(True)


def test_a_storage_that_hangs_from_the_beginning_is_noticed():
    assert decide(sight_age_seconds=None, unseen_seconds=14.0) == Intake(False)
    assert decide(sight_age_seconds=None, unseen_seconds=16.0) == Intake(False, "the storage does not answer")


def test_a_first_look_that_does_not_come_back_is_counted(tmp_path):
    node_state, gate = NodeState(), Event()

    class Hanging(LocalStore):
        def read(self, key: str) -> bytes:
            assert gate.wait(20)
            raise ValueError("a bug")

    looking = StorageWatch(Hanging(tmp_path), Names("ours"), node_state, on_lost=lambda _: None)
    assert node_state.unseen_seconds == 0
    looking.start()
    assert node_state.unseen_seconds > 0
    gate.set()
    looking.stop()
    node_state.see_storage()
    assert node_state.unseen_seconds == 0


def test_an_error_that_nobody_knows_does_not_end_the_watch(tmp_path):
    node_state, looks = NodeState(), Semaphore(0)

    class Odd(LocalStore):
        def read(self, key: str) -> bytes:
            looks.release()
            raise ValueError("a bug")

    looking = StorageWatch(
        Odd(tmp_path), Names("ours"), node_state, on_lost=lambda _: None, look_seconds=0.01
    )
    looking.start()
    for _ in range(3):
        assert looks.acquire(timeout=20)
    looking.stop()


def test_over_a_refusal_redis_is_asked_again():
    assert decide(refusal="NOPERM") == Intake(True, "NOPERM")


def test_a_node_that_connects_anew_with_a_message_in_hand_waits_until_it_is_free():
    assert decide(is_holding=True) == Intake(True)
    assert decide(is_holding=True, is_taking=False) == Intake(False)


def watch(path: Path, names: Names, node_state: NodeState) -> tuple[StorageWatch, list[ServiceError]]:
    lost: list[ServiceError] = []
    return StorageWatch(open_store(path.as_uri(), Settings()), names, node_state, on_lost=lost.append), lost


def test_the_watch_tells_of_a_storage_that_is_not_there_and_of_another_ones(tmp_path):
    node_state, names = NodeState(), Names("ours")
    assert node_state.sight_age_seconds is None
    looking, lost = watch(tmp_path, names, node_state)
    looking.look()
    assert [type(error) for error in lost] == [IdentityMissing]
    assert (node_state.sight_age_seconds is not None, node_state.is_moved) == (True, False)

    write_identity(open_store(tmp_path.as_uri(), Settings()), Installation(id="ours"))
    looking.look()
    assert len(lost) == 1
    other, wrong = watch(tmp_path, Names("other"), node_state)
    other.look()
    assert [type(error) for error in wrong] == [IdentityWrong]
    assert node_state.is_moved


def test_an_upgrade_that_gives_the_storage_its_identity_moves_a_node_of_the_first_names(tmp_path):
    (tmp_path / "jobs/one").mkdir(parents=True)
    node_state = NodeState()
    looking, lost = watch(tmp_path, Names(None), node_state)
    looking.look()
    assert (lost, node_state.is_moved) == ([], False)
    write_identity(open_store(tmp_path.as_uri(), Settings()), Installation(id="new"))
    looking.look()
    assert node_state.is_moved


def test_the_watch_goes_on_from_a_thread(tmp_path):
    node_state = NodeState()
    looking, _ = watch(tmp_path, Names("ours"), node_state)
    looking.start()
    looking.stop()
    assert node_state.sight_age_seconds is not None

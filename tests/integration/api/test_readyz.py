"""Whether the service says that it is ready only while a job would be taken in."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from shared.installation import IDENTITY_KEY
from shared.settings import Settings
from tests.support.app import change_backend
from web.services import Checkup

JOBS = "/api/v1/jobs"


def failing(client) -> list[str]:
    answer = client.get("/readyz")
    assert answer.status_code == (200 if answer.json["ready"] else 503)
    return [name for name, check in answer.json["checks"].items() if not check["ok"]]


def tell(pragma: str) -> Callable[..., None]:
    def spoil(services, _settings: Settings) -> None:
        database = services.backend.database
        database.close()
        event.listen(
            database._engine, "connect", lambda connection, _: connection.execute(f"PRAGMA {pragma}")
        )

    return spoil


def lose_the_database(_services, settings: Settings) -> None:
    (settings.data_dir / "atelier.db").unlink()


def damage_the_database(services, settings: Settings) -> None:
    services.backend.database.close()  # its log is written into the file
    path = settings.data_dir / "atelier.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def unmount_the_storage(_services, settings: Settings) -> None:
    storage = settings.data_dir / "storage"
    storage.rename(storage.with_name("elsewhere"))
    storage.mkdir()


def mount_another_storage(_services, settings: Settings) -> None:
    (settings.data_dir / "storage" / IDENTITY_KEY).write_text('{"version": 1, "id": "another"}')


def lose_the_storage(_services, settings: Settings) -> None:
    shutil.rmtree(settings.data_dir / "storage")


FAULTS: dict[str, tuple[Callable[..., None], str]] = {
    "the database is read-only": (tell("query_only=1"), "database"),
    "the database's disk is full": (tell("max_page_count=1"), "database"),
    "the database is gone": (lose_the_database, "database"),
    "the database is damaged": (damage_the_database, "database"),
    "the storage is not mounted": (unmount_the_storage, "storage"),
    "another storage is mounted": (mount_another_storage, "storage"),
    "the storage is gone": (lose_the_storage, "storage"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_not_ready_while_nothing_can_be_taken_in(client, services, settings, parts, fault: str):
    assert failing(client) == []
    spoil, part = FAULTS[fault]
    spoil(services, settings)
    assert failing(client) == [part]
    if part == "database" and "full" not in fault:  # a full one still takes what fits into its last page
        assert client.post(JOBS, data=parts()).status_code == 503


def test_it_is_not_ready_while_a_lock_is_held(client, settings):
    with closing(sqlite3.connect(settings.data_dir / "atelier.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert failing(client) == ["database"]
        other.execute("ROLLBACK")
    assert failing(client) == []


def test_a_damaged_database_is_told_and_no_path_is(client, services, settings):
    damage_the_database(services, settings)
    answer = client.get("/readyz")
    assert "damaged" in answer.json["checks"]["database"]["detail"]
    assert str(settings.data_dir) not in answer.text


def test_too_little_room_is_told_in_bytes(app, client, settings):
    change_backend(app, settings=settings.model_copy(update={"min_free_bytes": 2**52}))
    assert failing(client) == ["room"]
    detail = client.get("/readyz").json["checks"]["room"]["detail"]
    assert str(2**52) in detail
    assert "ATELIER_MIN_FREE_BYTES" in detail


def test_a_part_that_hangs_is_not_waited_for(app, client, services, monkeypatch):
    gone_on = threading.Event()
    monkeypatch.setattr(services.backend.storage, "check", gone_on.wait, raising=False)
    object.__setattr__(services, "checkup", Checkup(seconds=0.2))
    try:
        assert failing(client) == ["storage"]
        assert failing(client) == ["storage"]
        assert sum(thread.name == "check-storage" for thread in threading.enumerate()) == 1
        assert client.get("/readyz").json["checks"]["storage"]["detail"] == "There is no answer within 0.2 s."
    finally:
        gone_on.set()


def test_who_asks_meanwhile_gets_the_answer_of_the_check_that_runs():
    began, go_on, calls = threading.Event(), threading.Event(), []

    def check() -> None:
        calls.append(1)
        began.set()
        assert go_on.wait(30)

    checkup, answers = Checkup(seconds=30), []
    askers = [threading.Thread(target=lambda: answers.append(checkup.run({"a": check}))) for _ in range(3)]
    askers[0].start()
    assert began.wait(30)
    for asker in askers[1:]:
        asker.start()
    go_on.set()
    for asker in askers:
        asker.join()
    assert answers == [{"a": None}] * 3
    assert len(calls) <= 3


def test_a_fault_of_ours_is_not_hidden(client, services, monkeypatch):
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(services.backend.storage, "check", broken, raising=False)
    assert client.get("/readyz").status_code == 500


def test_the_check_leaves_nothing_in_the_storage(client, settings: Settings):
    assert failing(client) == []
    left = [path for path in Path(settings.data_dir / "storage").rglob("*") if path.is_file()]
    assert [path.name for path in left] == [IDENTITY_KEY]

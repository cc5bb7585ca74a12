"""Removing files by age: killed at any point, and against readers, uploads and other removers."""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import ArtifactMissing
from shared.protocol import new_id
from shared.storage.local import LocalStore
from tests.support.killing import Killed, before_call, die

KEY = f"assets/ab/{'ab' * 32}"
MOMENT = datetime(2026, 11, 23, tzinfo=UTC)
OLD, YOUNG = MOMENT - timedelta(days=1), MOMENT + timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    (tmp_path / "jobs").mkdir()  # an empty folder is no storage
    write(store, b"picture", OLD)
    return store


def write(store: LocalStore, data: bytes, moment: datetime) -> None:
    store.write(KEY, data)
    os.utime(store.root / KEY, (moment.timestamp(),) * 2)


def names(store: LocalStore) -> list[str]:
    return sorted(path.name for path in store.root.rglob("*") if path.is_file())


def calls_of(store: LocalStore, monkeypatch: pytest.MonkeyPatch, *, touched: bool) -> int:
    """How many system calls a removal makes; with `touched`, one that finds out at the last moment."""
    with monkeypatch.context() as patch:
        if touched:
            touch_once_set_aside(store, patch)
        seen = before_call(patch, 0, die)
        store.delete_older(KEY, MOMENT)
    return len(seen)


def touch_once_set_aside(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an upload touch the file after the first look at it, and before it is set aside."""
    rename = os.rename

    def touch_first(source: str, target: str) -> None:
        os.utime(source, (YOUNG.timestamp(),) * 2)
        rename(source, target)

    monkeypatch.setattr(os, "rename", touch_first)


def test_killed_at_any_call_a_needed_file_is_found_and_put_back(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
):
    """Touched in between: it must stay, wherever the remover is killed."""
    count = calls_of(store, monkeypatch, touched=True)
    assert count >= 5
    assert names(store) == ["ab" * 32]
    for number in range(1, count + 1):
        write(store, b"picture", OLD)
        with monkeypatch.context() as patch:
            touch_once_set_aside(store, patch)
            before_call(patch, number, die)
            with pytest.raises(Killed):
                store.delete_older(KEY, MOMENT)
        after = LocalStore(store.root)
        assert after.read(KEY) == b"picture", number
        with after.open(KEY) as file:
            assert file.read() == b"picture"
        assert (after.stat(KEY).key, after.stat(KEY).size_bytes) == (KEY, 7)
        assert list(after.list("assets")) == [KEY]
        after.put_back("assets/ab")
        assert names(after) == ["ab" * 32], number
        assert after.read(KEY) == b"picture"


def test_killed_at_any_call_garbage_is_whole_or_gone(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    count = calls_of(store, monkeypatch, touched=False)
    assert names(store) == []
    for number in range(1, count + 1):
        write(store, b"picture", OLD)
        with monkeypatch.context() as patch:
            before_call(patch, number, die)
            with pytest.raises(Killed):
                store.delete_older(KEY, MOMENT)
        assert store.read(KEY) == b"picture"
        store.put_back("assets")
        assert names(store) == ["ab" * 32]
        assert store.delete_older(KEY, MOMENT)
        assert names(store) == []


def test_a_killed_putting_back_is_done_by_the_next(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    aside = store.root / "assets/ab" / f".aside-{new_id()}-{'ab' * 32}"
    for number in range(1, 4):
        (store.root / KEY).rename(aside)
        with monkeypatch.context() as patch:
            before_call(patch, number, die)
            with pytest.raises(Killed):
                store.put_back("assets/ab")
        assert store.read(KEY) == b"picture"
        store.put_back("assets/ab")
        assert names(store) == ["ab" * 32]


@pytest.mark.parametrize("touched", [False, True])
def test_a_reader_at_any_moment_finds_what_stays(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, touched: bool
):
    """Between any two system calls of the remover; what is garbage may be found or not, but never broken."""
    for number in range(1, calls_of(store, monkeypatch, touched=touched) + 1):
        write(store, b"picture", OLD)
        found: list[bytes] = []

        def read(found: list[bytes] = found) -> None:
            found.append(store.read(KEY))

        with monkeypatch.context() as patch:
            if touched:
                touch_once_set_aside(store, patch)
            before_call(patch, number, read)
            assert store.delete_older(KEY, MOMENT) == (not touched)
        assert found == [b"picture"]


def test_a_reader_that_came_between_looks_once_more(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    """It finds the name gone, and by the time it looks aside the file is back."""
    aside = store.root / "assets/ab" / f".aside-{new_id()}-{'ab' * 32}"
    (store.root / KEY).rename(aside)
    list_folder = os.listdir

    def put_back_first(path: Path) -> list[str]:
        store.put_back("assets")
        return list_folder(path)

    def list_first(path: Path) -> list[str]:
        found = list_folder(path)
        store.put_back("assets")
        return found

    for late in (put_back_first, list_first):
        with monkeypatch.context() as patch:
            patch.setattr(os, "listdir", late)
            assert store.read(KEY) == b"picture"
        (store.root / KEY).rename(aside)


def test_an_upload_at_any_moment_has_its_file(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    """It touches the file, or stores it anew where that finds none; then it is there, whoever is killed."""
    for kill in (False, True):
        for number in range(1, calls_of(store, monkeypatch, touched=False) + 1):
            write(store, b"picture", OLD)

            def upload(kill: bool = kill) -> None:
                try:
                    store.touch(KEY)
                except ArtifactMissing:
                    store.create(KEY, b"picture")
                if kill:
                    die()

            with monkeypatch.context() as patch:
                before_call(patch, number, upload)
                try:
                    store.delete_older(KEY, MOMENT)
                except Killed:
                    assert kill
            assert store.read(KEY) == b"picture"
            store.put_back("assets")
            assert names(store) == ["ab" * 32]


def test_what_was_written_anew_is_not_replaced_by_what_was_set_aside(store: LocalStore):
    (store.root / KEY).rename(store.root / "assets/ab" / f".aside-{new_id()}-{'ab' * 32}")
    store.create(KEY, b"newer")
    assert store.read(KEY) == b"newer"
    assert list(store.list("assets")) == [KEY]
    assert store.put_back("assets") == [KEY]
    assert store.read(KEY) == b"newer"
    assert names(store) == ["ab" * 32]


@pytest.mark.parametrize("is_it", [True, False])
def test_killed_while_it_puts_a_wrong_file_away_it_loses_no_right_one(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, is_it: bool
):
    """What lies there by then is another file, or it is the wrong one: which is found until it is away."""
    sha256 = hashlib.sha256(b"picture" if is_it else b"other").hexdigest()
    with monkeypatch.context() as patch:
        seen = before_call(patch, 0, die)
        assert store.set_aside(KEY, sha256=sha256) is is_it
    for number in range(1, len(seen) + 1):
        write(store, b"picture", OLD)
        with monkeypatch.context() as patch:
            before_call(patch, number, die)
            with pytest.raises(Killed):
                store.set_aside(KEY, sha256=sha256)
        store.put_back("assets")
        if not is_it or number < 3:
            assert store.read(KEY) == b"picture", number
        assert not any(name.startswith(".") for name in names(store))


def test_two_removers_and_a_reader_at_once(store: LocalStore):
    """Each round one removes it at most, and what a reader gets is whole."""
    for _ in range(100):
        write(store, b"picture", OLD)
        removed: list[bool] = []

        def remove(removed: list[bool] = removed) -> None:
            removed.append(store.delete_older(KEY, MOMENT))

        removers = [threading.Thread(target=remove) for _ in range(2)]
        looker = threading.Thread(target=lambda: store.put_back("assets"))
        for thread in (*removers, looker):
            thread.start()
        for thread in (*removers, looker):
            thread.join()
        store.put_back("assets")
        assert len(removed) == 2
        assert names(store) in ([], ["ab" * 32])


def test_hidden_names_of_killed_writers_stay_what_they_are(store: LocalStore):
    (store.root / "assets/ab" / f".partial-{new_id()}").write_bytes(b"half")
    assert store.put_back("assets") == []
    assert [file.is_partial for file in store.inventory("assets")] == [True, False]
    assert list(store.list("assets")) == [KEY]


def test_a_tree_removed_twice_at_once_is_gone(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        seen = before_call(patch, 0, die)
        store.delete_tree("assets")
    others = (
        lambda: LocalStore(store.root).delete_tree("assets"),
        lambda: LocalStore(store.root).delete(KEY),
    )
    for number in range(1, len(seen) + 1):
        for other in others:
            write(store, b"picture", OLD)
            store.write("assets/zz/other", b"")
            with monkeypatch.context() as patch:
                before_call(patch, number, other)
                store.delete_tree("assets")
            assert not (store.root / "assets").exists()


def test_a_folder_is_moved_as_a_whole(store: LocalStore):
    assert store.move_tree("assets/ab", "assets/elsewhere/ab")
    assert not store.move_tree("assets/ab", "assets/elsewhere/ab")
    assert list(store.list("assets")) == [f"assets/elsewhere/ab/{'ab' * 32}"]

"""What every artifact store promises: the same tests for a folder and for a bucket."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from shared.clock import utc_now
from shared.errors import ArtifactExists, ArtifactMissing, FileDamaged
from shared.installation import IDENTITY_KEY, Installation, has_content, read_identity, write_identity
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.layout import is_set_aside
from shared.storage.store import ArtifactStore
from shared.storage.verify import CheckedFiles, check_file

pytestmark = pytest.mark.process

KEY = f"assets/ab/{'ab' * 32}"
LARGE = bytes(range(256)) * 40_000
LONG_AGO, SOON = utc_now() - timedelta(days=1), utc_now() + timedelta(days=1)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    changes = request.getfixturevalue("on_s3") if request.param == "bucket" else {}
    store = store_of(Settings(data_dir=tmp_path, **changes))
    store.make_root()
    write_identity(store, Installation(id="ours"))
    return store


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_is_written_is_read_listed_and_deleted(store: ArtifactStore):
    store.write("jobs/a/one", b"1")
    store.write("jobs/a/one", b"2")
    store.write_volatile("jobs/b/two", b"3")
    assert store.read("jobs/a/one") == b"2"
    assert list(store.list("jobs")) == ["jobs/a/one", "jobs/b/two"]
    assert list(store.list(".")) == [IDENTITY_KEY, "jobs/a/one", "jobs/b/two"]
    store.delete("jobs/a/one")
    store.delete("jobs/a/one")
    with pytest.raises(ArtifactMissing, match="jobs/a/one"):
        store.read("jobs/a/one")
    store.delete_tree("jobs/b")
    store.delete_tree("jobs/b")
    assert list(store.list("jobs")) == []


def test_a_folder_is_no_beginning_of_a_name(store: ArtifactStore):
    store.write("jobs/a/one", b"1")
    store.write("jobs/ab/two", b"2")
    assert list(store.list("jobs/a")) == ["jobs/a/one"]
    store.delete_tree("jobs/a")
    assert list(store.list("jobs")) == ["jobs/ab/two"]


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "jobs/../../outside"])
def test_no_key_leads_outside(store: ArtifactStore, key: str):
    for act in (store.read, store.open, store.stat, store.delete, store.delete_tree):
        with pytest.raises(ArtifactMissing):
            act(key)
    with pytest.raises(ArtifactMissing):
        store.write(key, b"x")


def test_what_is_missing_is_missing_whatever_is_asked(store: ArtifactStore):
    for act in (store.read, store.open, store.stat, store.touch):
        with pytest.raises(ArtifactMissing, match="jobs/none"):
            act("jobs/none")
    with pytest.raises(ArtifactMissing, match="jobs/none"):
        store.copy("jobs/none", "jobs/other")
    assert not store.delete_older("jobs/none", SOON)
    assert not store.set_aside("jobs/none", sha256=sha256(b""))
    assert not store.move_tree("jobs/none", "jobs/other")
    assert list(store.list("jobs")) == list(store.folders("jobs", limit=9)) == []


def test_create_never_replaces(store: ArtifactStore):
    store.create("jobs/a/result.json", b"first")
    with pytest.raises(ArtifactExists):
        store.create("jobs/a/result.json", b"second")
    assert store.read("jobs/a/result.json") == b"first"


def test_of_many_who_create_at_once_one_wins(store: ArtifactStore):
    for number in range(5):
        won: list[int] = []
        barrier = threading.Barrier(8)

        def create(
            own: int,
            key: str = f"jobs/{number}/result.json",
            won: list[int] = won,
            barrier: threading.Barrier = barrier,
        ) -> None:
            barrier.wait()
            try:
                store.create(key, str(own).encode())
                won.append(own)
            except ArtifactExists:
                pass

        threads = [threading.Thread(target=create, args=(own,)) for own in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.read(f"jobs/{number}/result.json") == str(won[0]).encode()


@pytest.mark.parametrize("data", [b"", b"small", LARGE])
def test_a_reader_can_go_anywhere(store: ArtifactStore, data: bytes):
    store.write("jobs/a/file", data)
    with store.open("jobs/a/file") as file:
        assert file.seek(0, 2) == len(data)
        assert file.read() == b""
        file.seek(0)
        assert file.read() == data
        middle = len(data) // 2
        assert file.seek(middle) == middle
        assert file.read(7) == data[middle : middle + 7]
        assert file.tell() == min(middle + 7, len(data))
        file.seek(0)
        assert file.read(3) == data[:3]


def test_a_reader_is_given_to_a_write(store: ArtifactStore, tmp_path: Path):
    (tmp_path / "file").write_bytes(LARGE)
    with (tmp_path / "file").open("rb") as file:
        store.write("jobs/a/file", file)
    with store.open("jobs/a/file") as file:
        store.write("jobs/b/file", file)
    assert store.read("jobs/b/file") == LARGE


def test_a_copy_stands_alone(store: ArtifactStore):
    store.write("jobs/a/state", LARGE)
    store.copy("jobs/a/state", "jobs/b/origin")
    store.delete("jobs/a/state")
    assert store.read("jobs/b/origin") == LARGE
    with pytest.raises(ArtifactMissing):
        store.copy("jobs/a/state", "jobs/b/origin")
    assert list(store.list("jobs")) == ["jobs/b/origin"]


def test_facts_of_a_file(store: ArtifactStore):
    before = utc_now() - timedelta(seconds=2)
    store.write("jobs/a/file", b"12345")
    facts = store.stat("jobs/a/file")
    assert (facts.key, facts.size_bytes, facts.is_partial, facts.is_aside) == ("jobs/a/file", 5, False, False)
    assert before <= facts.modified_at <= utc_now()
    assert list(store.inventory("jobs")) == [facts]


def test_folders_come_in_pages(store: ArtifactStore):
    names = [f"{number:02}" for number in range(7)]
    for name in names:
        store.write(f"jobs/{name}/attempt-1/one", b"1")
        store.write(f"jobs/{name}/attempt-1/two", b"2")
    store.write("jobs/a file", b"")
    assert list(store.folders("jobs", limit=3)) == names[:3]
    assert list(store.folders("jobs", after="02", limit=3)) == names[3:6]
    assert list(store.folders("jobs", after="05", limit=3)) == names[6:]
    assert list(store.folders("jobs", limit=100)) == names
    assert list(store.folders("jobs/00", limit=100)) == ["attempt-1"]
    assert has_content(store)


def test_a_folder_is_moved_as_a_whole(store: ArtifactStore):
    store.write("jobs/a/attempt-1/one", b"1")
    store.write("jobs/a/attempt-1/two", b"2")
    store.write("jobs/a/attempt-10/other", b"3")
    assert store.move_tree("jobs/a/attempt-1", "jobs/a/replaced-7-attempt1")
    assert not store.move_tree("jobs/a/attempt-1", "jobs/a/replaced-7-attempt1")
    names = ["attempt-10/other", "replaced-7-attempt1/one", "replaced-7-attempt1/two"]
    assert list(store.list("jobs/a")) == [f"jobs/a/{name}" for name in names]


@pytest.mark.parametrize("key", [KEY, "jobs/a/attempt-1/result.json"])
def test_only_what_is_old_is_removed_by_age(store: ArtifactStore, key: str):
    store.write(key, b"bytes")
    assert not store.delete_older(key, LONG_AGO)
    assert store.read(key) == b"bytes"
    assert store.delete_older(key, SOON)
    assert not store.delete_older(key, SOON)
    assert list(store.list(".")) == [IDENTITY_KEY]
    assert [file.key for file in store.inventory(".")] == [IDENTITY_KEY]


def test_a_touched_file_is_young_and_has_its_bytes(store: ArtifactStore):
    store.write(KEY, b"picture")
    before = store.stat(KEY).modified_at
    store.touch(KEY)
    assert store.stat(KEY).modified_at >= before
    assert store.read(KEY) == b"picture"


def test_only_what_is_not_what_it_says_is_set_aside(store: ArtifactStore):
    key = "jobs/a/attempt-1/result.json"
    store.write(key, b"wrong")
    assert not store.set_aside(key, sha256=sha256(b"other"))
    assert store.read(key) == b"wrong"
    assert store.set_aside(key, sha256=sha256(b"wrong"))
    with pytest.raises(ArtifactMissing):
        store.read(key)
    (there,) = store.list("jobs")
    assert is_set_aside(there)
    assert store.read(there) == b"wrong"
    store.create(key, b"right")


def test_many_who_set_the_same_file_aside_remove_none_that_was_written_anew(store: ArtifactStore):
    key, errors = "jobs/a/attempt-1/result.json", []

    def commit(own: int) -> None:
        try:
            while True:
                try:
                    store.create(key, f"right {own}".encode())
                    made.append(own)
                    return
                except ArtifactExists:
                    if store.read(key).startswith(b"right"):
                        return
                    store.set_aside(key, sha256=sha256(b"wrong"))
        except ArtifactMissing:
            commit(own)
        except BaseException as error:
            errors.append(error)
            raise

    for _ in range(3):
        made: list[int] = []
        store.write(key, b"wrong")
        threads = [threading.Thread(target=commit, args=(own,)) for own in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(made) == 1
        assert store.read(key) == f"right {made[0]}".encode()


def test_the_identity_is_made_once(store: ArtifactStore):
    with pytest.raises(ArtifactExists):
        write_identity(store, Installation(id="another"))
    assert read_identity(store) == Installation(id="ours")


def test_a_check_leaves_nothing_behind(store: ArtifactStore):
    store.check()
    assert [file.key for file in store.inventory(".")] == [IDENTITY_KEY]


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data[:-1] + b"\1", lambda _: b""])
@pytest.mark.parametrize("data", [b"small", LARGE])
def test_a_file_that_is_not_what_was_written_is_damaged(
    store: ArtifactStore, spoil: Callable[[bytes], bytes], data: bytes
):
    store.write(KEY, data)
    with CheckedFiles(store).open(KEY, sha256=sha256(data), size_bytes=len(data)) as file:
        assert file.read() == data
    store.write(KEY, spoil(data))
    with pytest.raises(FileDamaged):
        check_file(store, KEY, sha256=sha256(data), size_bytes=len(data))
    with pytest.raises(FileDamaged):
        CheckedFiles(store).open(KEY, sha256=sha256(data), size_bytes=len(data))

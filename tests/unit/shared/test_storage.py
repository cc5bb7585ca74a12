"""The local artifact store: whole files or none, and clear faults."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from shared.errors import ArtifactExists, ArtifactMissing, InvalidSettings, StorageUnavailable
from shared.installation import IDENTITY_KEY
from shared.settings import Settings
from shared.storage import open_store
from shared.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "storage")
    take(store)
    return store


def take(store: LocalStore) -> None:
    """Take a folder as a storage: its identity is the first file."""
    store.make_root()
    store.write(IDENTITY_KEY, b"{}")


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path):
    store = LocalStore(tmp_path / "mount" / "storage")
    for act in (
        lambda: store.write("a/b", b"1"),
        lambda: store.write_volatile("a/b", b"1"),
        lambda: store.create("a/b", b"1"),
        store.check,
    ):
        with pytest.raises(StorageUnavailable, match="storage mounted"):
            act()
    assert list(tmp_path.iterdir()) == []
    take(store)
    store.create("a/b", b"1")
    assert store.read("a/b") == b"1"


def test_an_empty_folder_in_the_place_of_a_storage_takes_nothing(store: LocalStore):
    store.write("a/b", b"1")
    away = store.root.with_name("away")
    store.root.rename(away)
    store.root.mkdir()
    for key in ("a/b", "a/c", "b/c/d"):
        for act in (store.write, store.write_volatile, store.create):
            with pytest.raises(StorageUnavailable, match="storage mounted"):
                act(key, b"2")
    assert list(store.root.iterdir()) == []
    store.root.rmdir()
    away.rename(store.root)
    store.write("b/c/d", b"2")
    assert (store.read("a/b"), store.read("b/c/d")) == (b"1", b"2")


def test_a_storage_that_goes_between_two_calls_takes_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
):
    def vanish(*_: object, **__: object) -> tuple[int, str]:
        store.root.rename(store.root.with_name("away"))
        store.root.mkdir()
        return make(*_, **__)

    store.write("a/b/c", b"1")
    make = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", vanish)
    with pytest.raises(StorageUnavailable, match="storage mounted"):
        store.write("a/b/d", b"2")
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("how", ["write", "write_volatile", "create", "copy"])
def test_a_storage_that_goes_in_the_middle_of_a_write_is_unavailable_and_no_file_is_missing(
    store: LocalStore, how: str, monkeypatch: pytest.MonkeyPatch
):
    store.write("there", b"1")
    link, replace = os.link, Path.replace

    def go_away() -> None:
        shutil.rmtree(store.root)

    monkeypatch.setattr(os, "link", lambda *words: (go_away(), link(*words)))
    monkeypatch.setattr(Path, "replace", lambda *words: (go_away(), replace(*words)))
    with pytest.raises(StorageUnavailable, match="went away"):
        store.copy("there", "a/new") if how == "copy" else getattr(store, how)("a/new", b"2")


def test_write_read_list_delete(store: LocalStore):
    store.write("jobs/a/one", b"1")
    store.write("jobs/a/one", b"2")
    store.write("jobs/b/two", b"3")
    assert store.read("jobs/a/one") == b"2"
    assert list(store.list("jobs")) == ["jobs/a/one", "jobs/b/two"]
    with store.open("jobs/b/two") as file:
        assert file.read() == b"3"
    store.delete("jobs/a/one")
    store.delete("jobs/a/one")
    store.delete_tree("jobs/b")
    store.delete_tree("jobs/b")
    assert list(store.list("jobs")) == []


def test_only_what_must_outlive_a_power_cut_waits_for_the_disk(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
):
    store.write_volatile("jobs/a/preview.jpg", b"0")  # its folder is new, and that must last
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    store.write_volatile("jobs/a/preview.jpg", b"1")
    store.write_volatile("jobs/a/preview.jpg", b"2")
    assert synced == []
    assert store.read("jobs/a/preview.jpg") == b"2"
    assert [file.key for file in store.inventory("jobs")] == ["jobs/a/preview.jpg"]
    store.write("jobs/a/checkpoint", b"3")
    assert len(synced) == 2  # the file, and the folder with its name


def test_the_names_of_new_folders_are_made_durable_the_root_s_own_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced: list[Path] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    store = LocalStore(tmp_path / "data" / "storage")
    store.make_root()
    assert synced == [tmp_path, tmp_path / "data"]
    take(store)
    synced.clear()
    store.write("jobs/a/file", b"0")
    assert synced[:2] == [store.root, store.root / "jobs"]
    assert synced[-1] == store.root / "jobs/a"


def test_create_never_replaces(store: LocalStore):
    store.create("jobs/a/result.json", b"first")
    with pytest.raises(ArtifactExists):
        store.create("jobs/a/result.json", b"second")
    assert store.read("jobs/a/result.json") == b"first"


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "jobs/../../outside"])
def test_no_key_leads_outside(store: LocalStore, key: str):
    with pytest.raises(ArtifactMissing):
        store.write(key, b"x")
    with pytest.raises(ArtifactMissing):
        store.read(key)


def test_what_is_missing_is_named(store: LocalStore):
    with pytest.raises(ArtifactMissing, match="jobs/none"):
        store.read("jobs/none")


def test_a_failed_write_leaves_the_old_file_and_no_other(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    store.write("a/b", b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="No space left on device"):
        store.write("a/b", b"new")
    monkeypatch.undo()
    assert store.read("a/b") == b"old"
    assert [path.name for path in (store.root / "a").iterdir()] == ["b"]


def test_a_place_that_cannot_be_written_fails_its_check(tmp_path: Path):
    (tmp_path / "storage").write_text("a file where the folder should be")
    with pytest.raises(StorageUnavailable):
        LocalStore(tmp_path / "storage").check()


def test_check_leaves_nothing_behind(store: LocalStore):
    store.check()
    assert list(store.list("check")) == []


def test_a_copy_stands_alone(store: LocalStore):
    data = bytes(range(256)) * 20_000
    store.write("jobs/a/state", data)
    store.copy("jobs/a/state", "jobs/b/origin")
    store.delete("jobs/a/state")
    assert store.read("jobs/b/origin") == data
    assert list(store.list("jobs")) == ["jobs/b/origin"]
    with pytest.raises(ArtifactMissing):
        store.copy("jobs/a/state", "jobs/b/origin")
    assert store.read("jobs/b/origin") == data
    assert [file.key for file in store.inventory("jobs")] == ["jobs/b/origin"]


def test_only_known_urls_open(tmp_path: Path):
    assert isinstance(open_store(tmp_path.as_uri(), Settings()), LocalStore)
    for url in ("ftp://host/x", "data/storage", "file://other-host/x"):
        with pytest.raises(InvalidSettings, match="ATELIER_STORAGE_URL"):
            open_store(url, Settings())

"""Copying the files of an installation to another store: whole, proven, and gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import FileDamaged, IdentityMissing, IdentityWrong, StorageUnavailable
from shared.installation import IDENTITY_KEY, Installation, read_identity, write_identity
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.moving import copy_files
from shared.storage.store import ArtifactStore

pytestmark = pytest.mark.process

OURS = Installation(id="ours")
FILES = {f"assets/{number:02}/{number:064}": bytes([number]) * 5000 for number in range(20)}
FILES |= {"jobs/a/attempt-1/result.json": b"{}", "jobs/a/attempt-1/state": bytes(10_000_000)}


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], ArtifactStore]:
    def make(kind: str, name: str) -> ArtifactStore:
        changes = request.getfixturevalue("on_s3") if kind == "bucket" else {}
        if changes:
            changes = {**changes, "storage_url": f"{changes['storage_url']}/{name}"}
        return store_of(Settings(data_dir=tmp_path / name, **changes))

    return make


@pytest.fixture
def source(place) -> ArtifactStore:
    store = place("folder", "from")
    fill(store)
    return store


def fill(store: ArtifactStore) -> None:
    store.make_root()
    write_identity(store, OURS)
    for key, data in FILES.items():
        store.write(key, data)
    store.write("check/left-over", b"check")


def content_of(store: ArtifactStore) -> dict[str, bytes]:
    return {key: store.read(key) for key in store.list(".")}


WHOLE = {**FILES, IDENTITY_KEY: OURS.model_dump_json().encode()}


@pytest.mark.parametrize(
    ("kinds"), [("folder", "folder"), ("folder", "bucket"), ("bucket", "folder"), ("bucket", "bucket")]
)
def test_all_is_copied_and_proven_and_once_more_nothing(place, kinds: tuple[str, str]):
    source, target = place(kinds[0], "from"), place(kinds[1], "to")
    fill(source)
    told: list[tuple[int, int]] = []
    copied = copy_files(source, target, on_file=lambda *counts: told.append(counts))
    size = sum(map(len, FILES.values()))
    assert (copied.installation_id, copied.files, copied.size_bytes) == ("ours", len(FILES), size)
    assert (copied.copied_files, copied.copied_bytes, copied.others) == (len(FILES), size, 0)
    lines = [f"{hashlib.sha256(data).hexdigest()}  {key}\n" for key, data in sorted(FILES.items())]
    assert copied.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert told[-1] == (len(FILES), len(FILES))
    assert content_of(target) == WHOLE
    again = copy_files(source, target)
    assert (again.files, again.copied_files, again.sha256) == (len(FILES), 0, copied.sha256)
    source.write("jobs/b/new", b"new")
    source.delete("jobs/a/attempt-1/result.json")
    source.write("jobs/a/attempt-1/state", b"other")
    last = copy_files(source, target)
    assert (last.copied_files, last.copied_bytes, last.others) == (2, 8, 1)
    assert target.read("jobs/a/attempt-1/state") == b"other"


class Failing:
    """A store that fails at its write of a number, and at all that follow."""

    def __init__(self, store: ArtifactStore, number: int) -> None:
        self._store, self._left = store, number

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def write(self, key: str, data) -> None:
        self._left -= 1
        if self._left <= 0:
            raise StorageUnavailable("it is gone")
        self._store.write(key, data)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_copy_that_broke_off_is_none_and_goes_on(place, source: ArtifactStore, kind: str):
    target = place(kind, "to")
    with pytest.raises(StorageUnavailable):
        copy_files(source, Failing(target, 6))
    assert read_identity(target) is None  # so no service starts there
    there = len([key for key in target.list(".") if key in FILES])
    assert there >= 5
    assert copy_files(source, target).copied_files == len(FILES) - there
    assert content_of(target) == WHOLE


def test_a_file_that_is_not_read_back_as_it_was_written_stops_it(place, source: ArtifactStore):
    class Forgetful(Failing):
        def write(self, key: str, data) -> None:
            self._store.write(key, b"something else" if key.endswith("state") else data)

    target = place("folder", "to")
    with pytest.raises(FileDamaged, match="jobs/a/attempt-1/state"):
        copy_files(source, Forgetful(target, 0))
    assert read_identity(target) is None
    assert copy_files(source, target).copied_files >= 1
    assert content_of(target) == WHOLE


def test_what_is_another_s_is_not_touched(place, source: ArtifactStore):
    target = place("folder", "to")
    with pytest.raises(IdentityMissing):
        copy_files(target, source)
    target.make_root()
    write_identity(target, Installation(id="theirs"))
    with pytest.raises(IdentityWrong, match="theirs"):
        copy_files(source, target)
    target.delete(IDENTITY_KEY)
    target.write("unrelated", b"")
    target.write("jobs/theirs/file", b"")
    with pytest.raises(IdentityWrong, match="does not say of which"):
        copy_files(source, target)
    assert list(target.list(".")) == ["jobs/theirs/file", "unrelated"]


def test_a_copy_under_way_of_another_is_not_gone_on_with(place, source: ArtifactStore):
    target = place("folder", "to")
    with pytest.raises(StorageUnavailable):
        copy_files(source, Failing(target, 3))
    other = place("folder", "other")
    other.make_root()
    write_identity(other, Installation(id="theirs"))
    with pytest.raises(IdentityWrong):
        copy_files(other, target)


def test_a_file_that_goes_meanwhile_is_left_out(place, source: ArtifactStore):
    class Losing(Failing):
        def list(self, prefix: str) -> Iterator[str]:
            yield from [*self._store.list(prefix), "jobs/gone"]

    copied = copy_files(Losing(source, 0), place("folder", "to"))
    assert copied.files == len(FILES)

"""The artifact store in a local or mounted folder."""

from __future__ import annotations

import hashlib
import heapq
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from shared.errors import ArtifactExists, ArtifactMissing, StorageUnavailable
from shared.protocol import new_id
from shared.storage.layout import set_aside_key
from shared.storage.store import Room, StoredFile, measure_room, prove_store

_PARTIAL = ".partial-"
#: A file that `delete_older` decides about: this, an id of 36 characters, a dash, and the file's own name.
_ASIDE = ".aside-"
_ID_CHARS = 36
_COPY_BYTES = 1 << 20
#: Files are 0600: `tempfile` makes them so.
_PRIVATE_FOLDER = 0o700
_Found = TypeVar("_Found")


class LocalStore:
    """Files below one folder. A write goes to a hidden file first, which is synced and then renamed.

    A file whose removal is being decided has a hidden name for that moment, which contains its own: readers
    look for it there, too, and what a killed process left so is put back (`put_back`).
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def make_root(self) -> None:
        """See `ArtifactStore.make_root`."""
        with _storage_errors(str(self.root)):
            make_folders(self.root)

    def write(self, key: str, data: bytes | BinaryIO) -> None:
        """See `ArtifactStore.write`."""
        path = self._path(key)
        with _storage_errors(key, writes=True), self._partial(path, data) as partial:
            partial.replace(path)
            _sync_folder(path.parent)

    def write_volatile(self, key: str, data: bytes) -> None:
        """See `ArtifactStore.write_volatile`."""
        path = self._path(key)
        with _storage_errors(key, writes=True), self._partial(path, data, synced=False) as partial:
            partial.replace(path)

    def create(self, key: str, data: bytes) -> None:
        """See `ArtifactStore.create`."""
        path = self._path(key)
        with _storage_errors(key, writes=True), self._partial(path, data) as partial:
            try:
                os.link(partial, path)  # fails if the name is taken, unlike a rename
            except FileExistsError:
                raise ArtifactExists(f"{key} is already there") from None
            _sync_folder(path.parent)

    def read(self, key: str) -> bytes:
        """See `ArtifactStore.read`."""
        with _storage_errors(key):
            return _find(self._path(key), Path.read_bytes)

    def open(self, key: str) -> BinaryIO:
        """See `ArtifactStore.open`."""
        with _storage_errors(key):
            return _find(self._path(key), lambda path: path.open("rb"))

    def copy(self, source: str, target: str) -> None:
        """See `ArtifactStore.copy`."""
        path = self._path(target)
        errors = _storage_errors(target, writes=True)
        with self.open(source) as data, errors, self._partial(path, data) as partial:
            partial.replace(path)
            _sync_folder(path.parent)

    def list(self, prefix: str) -> Iterator[str]:
        """See `ArtifactStore.list`."""
        with _storage_errors(prefix):
            found = [path for path in self._path(prefix).rglob("*") if path.is_file()]
        # The same name may be there twice: set aside, and written again.
        for path in sorted({_own_place(path) for path in found}):
            if not path.name.startswith(_PARTIAL):
                yield path.relative_to(self.root).as_posix()

    def delete(self, key: str) -> None:
        """See `ArtifactStore.delete`."""
        with _storage_errors(key):
            self._path(key).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        """See `ArtifactStore.delete_tree`."""
        with _storage_errors(prefix):
            path = self._path(prefix)
            while path.exists():
                with suppress(FileNotFoundError):  # others remove parts of it, too
                    shutil.rmtree(path)

    def move_tree(self, prefix: str, target: str) -> bool:
        """See `ArtifactStore.move_tree`."""
        source, place = self._path(prefix), self._path(target)
        with _storage_errors(prefix):
            if not source.is_dir():
                return False
            self._make_folders(place.parent)
            source.rename(place)
            _sync_folder(place.parent)
            _sync_folder(source.parent)
        return True

    def folders(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ArtifactStore.folders`."""
        with _storage_errors(prefix):
            try:
                entries = os.scandir(self._path(prefix))
            except FileNotFoundError:
                return []
            with entries:
                names = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
                return heapq.nsmallest(limit, (name for name in names if name > after))

    def inventory(self, prefix: str) -> Sequence[StoredFile]:
        """See `ArtifactStore.inventory`."""
        with _storage_errors(prefix):
            files = []
            for folder, _, names in os.walk(self._path(prefix), onerror=_raise_unless_gone):
                for name in names:
                    with suppress(FileNotFoundError):  # others go on writing meanwhile
                        files.append(self._stat(Path(folder, name)))
        return sorted((file for file in files if file is not None), key=lambda file: file.key)

    def stat(self, key: str) -> StoredFile:
        """See `ArtifactStore.stat`."""
        with _storage_errors(key):
            file = _find(self._path(key), self._stat)
        if file is None:
            raise ArtifactMissing(f"{key} is not a file")
        return replace(file, key=key, is_aside=False)

    def touch(self, key: str) -> None:
        """See `ArtifactStore.touch`."""
        with _storage_errors(key):
            os.utime(self._path(key))

    def delete_older(self, key: str, moment: datetime) -> bool:
        """See `ArtifactStore.delete_older`.

        The file is moved aside before its time is read for the decision: then no `touch` can reach it. Killed
        at any point, this leaves the file at its own place or aside, or removed by a decision.
        """
        path = self._path(key)
        aside = path.with_name(f"{_ASIDE}{new_id()}-{path.name}")
        with _storage_errors(key):
            try:
                if self._is_younger(path, moment):
                    return False
                path.rename(aside)
                if self._is_younger(aside, moment):
                    _link_back(aside)
                    return False
                aside.unlink()
            except FileNotFoundError:  # others removed it, or put it back
                return False
            return True

    def put_back(self, prefix: str) -> Sequence[str]:
        """See `ArtifactStore.put_back`."""
        with _storage_errors(prefix):
            found = [
                Path(folder, name)
                for folder, _, names in os.walk(self._path(prefix), onerror=_raise_unless_gone)
                for name in names
                if name.startswith(_ASIDE)
            ]
            for aside in found:
                with suppress(FileNotFoundError):  # it was decided about just now
                    _link_back(aside)
        return sorted({_own_place(aside).relative_to(self.root).as_posix() for aside in found})

    def set_aside(self, key: str, *, sha256: str) -> bool:
        """See `ArtifactStore.set_aside`.

        The file is judged once it is aside, where nobody can replace it, under a name that readers look for.
        """
        path = self._path(key)
        aside = path.with_name(f"{_ASIDE}{new_id()}-{path.name}")
        with _storage_errors(key):
            try:
                path.rename(aside)
                with aside.open("rb") as file:
                    is_it = hashlib.file_digest(file, "sha256").hexdigest() == sha256
                if is_it:
                    os.utime(aside)  # its age counts from now on
                    aside.rename(self._path(set_aside_key(key, new_id())))
                else:
                    _link_back(aside)
            except FileNotFoundError:  # it was put back
                return False
            _sync_folder(path.parent)
            return is_it

    def room(self) -> Room:
        """See `ArtifactStore.room`."""
        try:
            return measure_room(self.root)
        except OSError as error:
            raise StorageUnavailable(f"the room of {self.root} cannot be measured: {error}") from error

    def direct_url(self, key: str, *, seconds: int, content_type: str, disposition: str) -> str | None:  # noqa: ARG002
        """See `ArtifactStore.direct_url`: a folder has none."""
        return None

    def check(self) -> None:
        """See `ArtifactStore.check`."""
        prove_store(self, f"check/{new_id()}", str(self.root))

    def _stat(self, path: Path) -> StoredFile | None:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            return None
        return StoredFile(
            key=path.relative_to(self.root).as_posix(),
            size_bytes=facts.st_size,
            modified_at=datetime.fromtimestamp(facts.st_mtime, UTC),
            is_partial=path.name.startswith(_PARTIAL),
            is_aside=path.name.startswith(_ASIDE),
        )

    def _is_younger(self, path: Path, moment: datetime) -> bool:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC) >= moment

    def _path(self, key: str) -> Path:
        path = self.root / key
        if not key or key.startswith("/") or ".." in path.parts:
            raise ArtifactMissing(f"{key!r} is not a key")
        return path

    def _make_folders(self, folder: Path) -> None:
        """Make a folder and those between it and the root; each new name is synced, as a file's is."""
        if folder.is_dir():
            return
        if not self.root.is_dir():
            raise StorageUnavailable(f"{self.root} is not there; is the storage mounted?")
        first = self.root / folder.relative_to(self.root).parts[0]
        if not first.is_dir():
            if not any(self.root.iterdir()):
                # A storage in use holds its identity. Who has just looked for that saw another folder here.
                raise StorageUnavailable(f"{self.root} is empty; is the storage mounted?")
            make_folders(first, below=self.root)
        make_folders(folder, below=first)

    @contextmanager
    def _partial(self, path: Path, data: bytes | BinaryIO, *, synced: bool = True) -> Iterator[Path]:
        """Write `data` to a hidden file beside its place; the hidden name is removed in any case."""
        try:
            self._make_folders(path.parent)
            handle, name = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
        except FileNotFoundError as error:
            raise StorageUnavailable(f"{path.parent} has gone; is the storage mounted?") from error
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    shutil.copyfileobj(data, file, _COPY_BYTES)
                file.flush()
                if synced:
                    os.fsync(file.fileno())
            yield partial
        finally:
            partial.unlink(missing_ok=True)


def make_folders(folder: Path, *, below: Path | None = None) -> None:
    """Make a folder and those that it lies in, if they are not there; each new name is made durable.

    `below` is a folder that is never made: without it the folders below fail with an `OSError`.
    """
    missing = []
    while folder != below and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        _sync_folder(new.parent)


@contextmanager
def _storage_errors(key: str, *, writes: bool = False) -> Iterator[None]:
    """Tell of what goes wrong inside the block; `writes`: what it is about need not have been there."""
    try:
        yield
    except FileNotFoundError as error:
        if writes:
            # Its folder went away while it was written, as when the storage is unmounted in this moment.
            raise StorageUnavailable(f"storage failed at {key}: its folder went away meanwhile") from error
        raise ArtifactMissing(f"{key} is not in the storage") from error
    except OSError as error:
        raise StorageUnavailable(f"storage failed at {key}: {error.strerror or error}") from error


def _find(path: Path, look: Callable[[Path], _Found]) -> _Found:
    """Look at a file, or where it is while its removal is decided; then once more at its own place.

    Raises:
        FileNotFoundError: when it is nowhere.
    """
    try:
        return look(path)
    except FileNotFoundError:
        for place in (*_places_aside(path), path):
            with suppress(FileNotFoundError):
                return look(place)
        raise


def _places_aside(path: Path) -> list[Path]:
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - names only, and all of them at once
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [
        place
        for name in names
        if name.startswith(_ASIDE) and _own_place(place := path.with_name(name)) == path
    ]


def _own_place(path: Path) -> Path:
    """Return the place of a file that may have been set aside."""
    if not path.name.startswith(_ASIDE):
        return path
    return path.with_name(path.name[len(_ASIDE) + _ID_CHARS + 1 :] or path.name)


def _link_back(aside: Path) -> None:
    """Give a file that was set aside its own name again, unless it was written anew; drop the hidden one.

    A link, since a rename would replace what was written meanwhile. Others may do the same at the same time.
    """
    place = _own_place(aside)
    with suppress(FileExistsError):
        os.link(aside, place)
        _sync_folder(place.parent)
    aside.unlink(missing_ok=True)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync_folder(folder: Path) -> None:
    """Make a new name durable: on POSIX a folder is synced separately."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

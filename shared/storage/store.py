"""The interface of all artifact stores. Keys are relative paths with ``/``; every write is atomic."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from shared.errors import StorageUnavailable
from shared.settings import Settings


@dataclass(frozen=True)
class Room:
    """The room of a file system in bytes: all of it, and what a process of this user can still fill."""

    total_bytes: int
    free_bytes: int


def measure_room(folder: Path) -> Room:
    """Return the room of the file system that a folder lies on; raise `OSError` when it cannot be asked."""
    facts = os.statvfs(folder)
    # Without a free inode no file can be made, however many bytes are free; some file systems count none.
    is_out_of_files = facts.f_files > 0 and facts.f_favail == 0
    return Room(facts.f_blocks * facts.f_frsize, 0 if is_out_of_files else facts.f_bavail * facts.f_frsize)


def is_too_full(room: Room, settings: Settings) -> bool:
    """Whether there is less room than has to be left before a submit is taken in or a job begun."""
    return room.free_bytes < settings.min_free_bytes


@dataclass(frozen=True)
class StoredFile:
    """A file in a store; `modified_at` is when it was last written or touched, in UTC.

    A partial file is the unfinished file of a writer, left behind if the writer was killed. A file that is
    set aside is one whose removal was being decided; readers find it by its own key.
    """

    key: str
    size_bytes: int
    modified_at: datetime
    is_partial: bool = False
    is_aside: bool = False


class ArtifactStore(Protocol):
    """A store of files that web, control and workers share.

    Every method raises `StorageUnavailable` when the store fails, and every reading one
    `ArtifactMissing` when no file has this key.
    """

    def make_root(self) -> None:
        """Make the place of the whole store, if it is not there. No other method does.

        A write that made it would fill the disk below a mount point while nothing is mounted there.
        """

    def write(self, key: str, data: bytes | BinaryIO) -> None:
        """Store bytes, or what a reader gives, replacing an existing file.

        Others see the old file or the new one.
        """

    def write_volatile(self, key: str, data: bytes) -> None:
        """Store `data` as `write` does, but do not wait for the disk: a power cut may lose or spoil it."""

    def create(self, key: str, data: bytes) -> None:
        """Store `data` if no file has this key yet; raise `ArtifactExists` otherwise. Atomic."""

    def read(self, key: str) -> bytes:
        """Return a file's bytes."""

    def open(self, key: str) -> BinaryIO:
        """Return a seekable reader of a file; the caller closes it."""

    def copy(self, source: str, target: str) -> None:
        """Copy a file to another key; either can then be removed alone."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield, sorted, the keys below the folder `prefix`."""

    def delete(self, key: str) -> None:
        """Remove a file; nothing happens if there is none."""

    def delete_tree(self, prefix: str) -> None:
        """Remove every file below the folder `prefix`; killed half-way, it leaves some of them."""

    def move_tree(self, prefix: str, target: str) -> bool:
        """Give the folder `prefix` another name; return whether there was one.

        In a folder of a disk that is one atomic step; elsewhere all is copied before any of it is removed.
        """

    def folders(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """Return, sorted, up to `limit` names of folders directly below `prefix` that come after `after`."""

    def inventory(self, prefix: str) -> Sequence[StoredFile]:
        """Return the files below the folder `prefix`, sorted by key, with those partial or set aside."""

    def stat(self, key: str) -> StoredFile:
        """Return a file's size and modification time."""

    def touch(self, key: str) -> None:
        """Set a file's modification time to now; raise `ArtifactMissing` when it is gone."""

    def delete_older(self, key: str, moment: datetime) -> bool:
        """Remove a file unless it was written or touched since `moment`; return whether it was removed.

        Against `touch` it is atomic: either the file stays, or `touch` finds it gone. Killed half-way, it
        leaves the file set aside: `put_back` is for that.
        """

    def put_back(self, prefix: str) -> Sequence[str]:
        """Give files below the folder `prefix` that are set aside their own keys again; return these.

        One that another process decides about in this moment stays then, too, until it is looked at again.
        """

    def set_aside(self, key: str, *, sha256: str) -> bool:
        """Rename a file that is not what its place says, if it has this SHA-256; return whether it had.

        A file that was written there in the meantime stays. The pruner removes what was set aside, when it is
        old.
        """

    def room(self) -> Room | None:
        """Return the room of the file system that the files lie on; None where none can be measured."""

    def direct_url(self, key: str, *, seconds: int, content_type: str, disposition: str) -> str | None:
        """Return an address at which whoever has it gets a file from the store itself, for so many seconds.

        None where there is no such address, as of a folder. Whether the file is there is not looked at; its
        answer has this type and this `Content-Disposition`.
        """

    def check(self) -> None:
        """Check that a file can be written, read and removed; raise `StorageUnavailable` otherwise."""


def prove_store(store: ArtifactStore, key: str, name: str) -> None:
    """Write a file under a key, read and remove it; `name` is what the store is called.

    Raises:
        StorageUnavailable: when the store fails, or does not give back what was written.
    """
    store.write(key, b"check")
    try:
        if store.read(key) != b"check":
            raise StorageUnavailable(f"{name} does not give back what was written")
    finally:
        store.delete(key)

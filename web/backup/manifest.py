"""The folder of a backup: a manifest, and below ``files/`` each content once, named by its SHA-256.

The manifest is written last, in one atomic step, and names everything with size and SHA-256. So a folder
without one is no backup yet, and a backup that is made anew into the same folder replaces the one before only
when it is complete.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import BackupDamaged, BackupRefused
from shared.protocol import new_id
from shared.storage.local import make_folders

_MANIFEST = "manifest.json"
_FILES = "files"
_PARTIAL = ".partial-"
_PIECE_BYTES = 1 << 20


class Content(BaseModel):
    """The bytes of a file: how many, and their SHA-256."""

    model_config = ConfigDict(frozen=True)

    size_bytes: int
    sha256: str


class BackedUpFile(Content):
    """A file of the storage: its key, and when it was written there."""

    key: str
    modified_at: datetime


class Manifest(BaseModel):
    """What a backup holds; a reader ignores fields that it does not know.

    `made_at` is right before the database was copied: it knows of everything up to then. `missing` and
    `damaged` are files that rows refer to and that were not there, or not what the rows say, at that time;
    among the damaged are files and folders of jobs that could not be read.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    installation_id: str
    made_at: datetime
    release: str
    build: str
    schema_revision: str
    database: Content
    files: tuple[BackedUpFile, ...]
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The size of all files, with the database."""
        return self.database.size_bytes + sum(file.size_bytes for file in self.files)


class Reader(Protocol):
    """What a content is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


@dataclass(frozen=True)
class Copied:
    """A content that was put into a folder; `is_new` unless it was there already."""

    content: Content
    is_new: bool


class BackupFolder:
    """A folder that holds, or is to hold, a backup."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def prepare(self) -> Manifest | None:
        """Make the folder for a backup; return the manifest of the one that is in it, if there is one.

        Raises:
            BackupRefused: when it holds other things, or cannot be made.
            BackupDamaged: when the manifest in it cannot be read.
        """
        try:
            make_folders(self.path)
            others = {name for name in os.listdir(self.path) if not name.startswith(".")}  # noqa: PTH208
            if others - {_MANIFEST, _FILES}:
                raise BackupRefused(f"{self.path} is neither empty nor a backup; choose another folder")
            (self.path / _FILES).mkdir(exist_ok=True)
        except OSError as error:
            raise BackupRefused(f"{self.path} cannot be used: {error.strerror}") from error
        return self.read() if _MANIFEST in others else None

    def read(self) -> Manifest:
        """Return the manifest.

        Raises:
            BackupRefused: when there is none: it is no backup, or one that was not finished.
            BackupDamaged: when it cannot be read.
        """
        try:
            return Manifest.model_validate_json((self.path / _MANIFEST).read_bytes())
        except FileNotFoundError:
            raise BackupRefused(
                f"{self.path} holds no finished backup: there is no {_MANIFEST}, which is written last"
            ) from None
        except (OSError, ValidationError) as error:
            raise BackupDamaged(f"{self.path / _MANIFEST} cannot be read: {error}") from error

    def write(self, manifest: Manifest) -> None:
        """Write the manifest in one atomic step; then remove what only an earlier one named."""
        for folder in (self.path / _FILES, *(self.path / _FILES).iterdir()):
            _sync(folder)
        partial = self.path / f"{_PARTIAL}{new_id()}"
        partial.write_bytes(manifest.model_dump_json(indent=1).encode())
        _sync(partial)
        partial.replace(self.path / _MANIFEST)
        _sync(self.path)
        named = {manifest.database.sha256, *(file.sha256 for file in manifest.files)}
        for folder in (self.path, *(self.path / _FILES).iterdir()):
            for path in folder.iterdir():
                is_file = folder != self.path and path.name not in named
                if is_file or path.name.startswith(_PARTIAL):
                    path.unlink(missing_ok=True)

    def place(self, content: Content) -> Path:
        """Return where a content lies."""
        return self.path / _FILES / content.sha256[:2] / content.sha256

    def has(self, content: Content) -> bool:
        """Whether a content is there, as far as its size tells."""
        try:
            return self.place(content).stat().st_size == content.size_bytes
        except OSError:
            return False

    def put(self, source: Reader) -> Copied:
        """Store what a reader gives.

        Raises:
            OSError: when it cannot be read or written.
        """
        partial = self.path / f"{_PARTIAL}{new_id()}"
        digest, size = hashlib.sha256(), 0
        try:
            with partial.open("wb") as file:
                while piece := source.read(_PIECE_BYTES):
                    digest.update(piece)
                    size += file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            content = Content(size_bytes=size, sha256=digest.hexdigest())
            is_new = not self.has(content)
            self.place(content).parent.mkdir(exist_ok=True)
            partial.replace(self.place(content))  # also over one of this name: that may have been damaged
        finally:
            partial.unlink(missing_ok=True)
        return Copied(content, is_new=is_new)

    def faults(self, manifest: Manifest) -> Iterator[str]:
        """Read everything that a manifest names; yield in words what is not there or not what was written."""
        contents = {manifest.database: "the database"}
        for named in manifest.files:
            contents.setdefault(Content(size_bytes=named.size_bytes, sha256=named.sha256), named.key)
        for content, name in contents.items():
            try:
                with self.place(content).open("rb") as file:
                    found = digest_of(file)
            except OSError as error:
                yield f"{name}: {error.strerror} ({self.place(content)})"
                continue
            if found != content:
                yield (
                    f"{name}: it has {found.size_bytes} bytes with SHA-256 {found.sha256[:12]}…; "
                    f"{content.size_bytes} bytes with {content.sha256[:12]}… were written "
                    f"({self.place(content)})"
                )

    def require_whole(self) -> Manifest:
        """Return the manifest when everything that it names is there, unchanged.

        Raises:
            BackupRefused: when there is no finished backup.
            BackupDamaged: naming some of what is not.
        """
        manifest = self.read()
        faults = list(self.faults(manifest))
        if faults:
            more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
            raise BackupDamaged(f"the backup in {self.path} is damaged: {'; '.join(faults[:3])}{more}")
        return manifest


def digest_of(file: BinaryIO) -> Content:
    """Return the size and SHA-256 of what a reader gives."""
    digest, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
    return Content(size_bytes=size, sha256=digest.hexdigest())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders cannot be synced
            os.fsync(handle)
    finally:
        os.close(handle)

"""Uploads: pictures are checked, stored before their row is written, and removed when a request fails."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from shared.errors import (
    ArtifactExists,
    ArtifactMissing,
    DatabaseUnavailable,
    Fault,
    MissingPart,
    NotFound,
    PictureRefused,
    PictureTooHeavy,
    StorageUnavailable,
)
from shared.logs import get_logger
from shared.picture import PictureFacts, PictureLimits, inspect_picture
from shared.protocol import new_id
from shared.storage.layout import asset_key
from shared.storage.verify import file_fault
from shared.texts import is_printable
from web.backend import Backend
from web.db.models import Asset

MAX_NAME_CHARS = 200
#: The bytes that a request may have besides two pictures: its other parts and the boundaries.
_OTHER_PARTS_BYTES = 1_000_000
_log = get_logger(__name__)


def clean_filename(filename: str | None, *, default: str) -> str:
    """Return the last part of a file's name without control characters, cut to 200 characters."""
    last = (filename or "").replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(letter for letter in last if is_printable(letter)).strip()
    if shown in ("", ".", ".."):
        return default
    return shown[:MAX_NAME_CHARS]


class PartChecks:
    """Collects the faults of all parts; `settle` then raises them together."""

    def __init__(self) -> None:
        self._refused: list[PictureRefused | MissingPart] = []
        self._faults: list[Fault] = []

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Check one part inside the block; a refusal ends the block and is collected."""
        try:
            yield
        except (PictureRefused, MissingPart) as error:
            self._refused.append(error)
            self._faults += error.faults or (Fault(f"/{part}", error.code, error.detail),)

    def settle(self) -> None:
        """Raise the collected faults, if there are any, as an error of the first one's class.

        Raises:
            PictureRefused, MissingPart: naming every part that is at fault.
        """
        if self._refused:
            detail = "; ".join(error.detail for error in self._refused)
            raise type(self._refused[0])(detail, faults=tuple(self._faults)) from self._refused[0]


class UploadedFile(Protocol):
    """A file of a request, as the web framework gives it; `filename` is the sender's."""

    @property
    def filename(self) -> str | None:
        """The sender's name for the file; never used as a path."""

    @property
    def stream(self) -> IO[bytes]:
        """The file's bytes; seekable."""


@dataclass(frozen=True)
class Picture:
    """A checked picture; `filename` is for display only."""

    sha256: str
    size_bytes: int
    filename: str
    facts: PictureFacts


def max_body_bytes(limits: PictureLimits) -> int:
    """Return how many bytes a request with two pictures may have."""
    return 2 * limits.max_bytes + _OTHER_PARTS_BYTES


def take_picture(part: UploadedFile, *, name: str, limits: PictureLimits) -> tuple[Picture, bytes]:
    """Check one part of a request; return the picture and its bytes. Messages call the part `name`.

    Raises:
        PictureRefused: the subclass says why.
    """
    size = part.stream.seek(0, os.SEEK_END)
    if size > limits.max_bytes:
        raise too_heavy(name, size, limits)
    part.stream.seek(0)
    data = part.stream.read()
    facts = inspect_picture(data, name=name, limits=limits)
    filename = clean_filename(part.filename, default=name)
    return Picture(hashlib.sha256(data).hexdigest(), size, filename, facts), data


def too_heavy(name: str, size: int | None, limits: PictureLimits) -> PictureTooHeavy:
    """Return the error for too many bytes; `size` is None when not all of them were counted."""
    if size is None:
        measured = "is larger than two pictures may be"
    elif size - limits.max_bytes < 100_000:
        measured = f"has {size} bytes"  # in MB it would be rounded to the limit
    else:
        measured = f"has {size / 1e6:.1f} MB"
    return PictureTooHeavy(
        f"{name} {measured}; at most {limits.max_bytes / 1e6:g} MB are allowed for a picture"
    )


def get_asset(session: Session, asset_id: str, *, caller: str) -> Asset:
    """Return a caller's asset.

    Raises:
        NotFound: when there is none with this id.
    """
    asset = session.scalar(_BY_ID, {"asset_id": asset_id, "caller": caller})
    if asset is None:
        raise NotFound(f"there is no asset with the id '{asset_id}'")
    return asset


def get_assets(session: Session, asset_ids: Collection[str], *, caller: str) -> dict[str, Asset]:
    """Return those of the assets that are a caller's, by their ids."""
    found = session.scalars(_BY_IDS, {"asset_ids": list(asset_ids), "caller": caller})
    return {asset.id: asset for asset in found}


# Made once: each submission asks them.
_OF_CALLER = select(Asset).where(Asset.caller == bindparam("caller"))
_BY_ID = _OF_CALLER.where(Asset.id == bindparam("asset_id"))
_BY_IDS = _OF_CALLER.where(Asset.id.in_(bindparam("asset_ids", expanding=True)))


def find_asset(session: Session, sha256: str, *, caller: str) -> Asset | None:
    """Return a caller's asset with this SHA-256, if there is one."""
    return session.scalar(select(Asset).where(Asset.sha256 == sha256, Asset.caller == caller))


def add_asset(session: Session, picture: Picture, *, caller: str, now: datetime) -> tuple[Asset, bool]:
    """Return a caller's asset with a picture's bytes, and whether it is new."""
    known = find_asset(session, picture.sha256, caller=caller)
    if known is not None:
        return known, False
    asset = Asset(
        id=new_id(),
        caller=caller,
        sha256=picture.sha256,
        filename=picture.filename,
        content_type=picture.facts.content_type,
        size_bytes=picture.size_bytes,
        width=picture.facts.width,
        height=picture.facts.height,
        created_at=now,
    )
    session.add(asset)
    session.flush()
    return asset, True


def is_picture_used(session: Session, sha256: str) -> bool:
    """Whether any caller's asset has this SHA-256."""
    return session.scalar(select(Asset.id).where(Asset.sha256 == sha256).limit(1)) is not None


class Uploads:
    """Checks and stores pictures, and removes what a refused or failed request has stored.

    Two requests of this process may have the same picture at once: its file is removed only when the last of
    them has failed and no row uses it. `decoding` limits how many requests check pictures at once.
    """

    def __init__(self, backend: Backend, decoding: threading.Semaphore) -> None:
        self._backend = backend
        self._decoding = decoding
        self._lock = threading.Lock()
        self._holders: Counter[str] = Counter()
        self._unowned: set[str] = set()

    @contextmanager
    def batch(self) -> Iterator[UploadBatch]:
        """Open a batch; its files are removed when the block ends with an error."""
        batch = UploadBatch(self)
        try:
            yield batch
        except BaseException:
            self._release(batch.held, keep=False)
            raise
        self._release(batch.held, keep=True)

    def take(
        self,
        files: Mapping[str, UploadedFile],
        *,
        batch: UploadBatch | None,
        check: Callable[[str, Picture], object] | None = None,
    ) -> dict[str, Picture]:
        """Check all pictures, each by `check` too, then store them in the batch, if there is one.

        Raises:
            PictureRefused, MissingPart: naming every part that is at fault.
            StorageUnavailable: when they cannot be stored.
        """
        limits = self._backend.settings.picture_limits()
        with self._decoding:
            taken, checks = {}, PartChecks()
            for part, file in files.items():
                with checks.of(part):
                    picture, data = take_picture(file, name=part, limits=limits)
                    if check is not None:
                        check(part, picture)
                    taken[part] = picture, data
            checks.settle()
            if batch is not None:
                for picture, data in taken.values():
                    batch.put(picture.sha256, data)
            return {part: picture for part, (picture, _) in taken.items()}

    def add(
        self, file: UploadedFile, *, caller: str, now: datetime, name: str = "file"
    ) -> tuple[Asset, bool]:
        """Store one picture; return its asset, and whether it is new.

        `name` is the name of its part, also in messages. Raises what `take` does, StorageFull when the disks
        have too little room left, TooManyBytes when the caller has too many bytes stored with it, and
        DatabaseUnavailable when the row cannot be written.
        """
        self._backend.require_room()
        limits = self._backend.limits_of(caller, adds_bytes=True)
        with self.batch() as batch:
            picture = self.take({name: file}, batch=batch)[name]
            with self._backend.database.write() as session:
                asset, is_new = add_asset(session, picture, caller=caller, now=now)
                if is_new:
                    limits.require_bytes(session)
                return asset, is_new

    def hold(self, sha256: str) -> None:
        """Count a request that needs the file of this SHA-256."""
        with self._lock:
            self._holders[sha256] += 1

    def store(self, sha256: str, data: bytes) -> None:
        """Store a file, or touch the existing one, so that garbage collection does not remove it.

        One that is damaged is replaced: who uploads a picture once more mends it.

        Raises:
            IdentityMissing, IdentityWrong: when it is not that of this installation.
            StorageUnavailable: when the storage fails.
        """
        key, storage = asset_key(sha256), self._backend.storage
        self._backend.check_storage()  # once more: a picture may have waited to be decoded
        while True:
            try:
                storage.create(key, data)
                break
            except ArtifactExists:
                try:
                    storage.touch(key)
                except ArtifactMissing:
                    continue  # garbage collection removed it just now
                fault = file_fault(storage, key, sha256=sha256, size_bytes=len(data))
                if fault is not None:
                    _log.warning("asset_replaced", key=key, reason=fault)
                    storage.write(key, data)
                return
        with self._lock:
            self._unowned.add(sha256)

    def _release(self, held: list[str], *, keep: bool) -> None:
        with self._lock:
            for sha256 in held:
                self._holders[sha256] -= 1
                if keep:
                    self._unowned.discard(sha256)
                if self._holders[sha256] == 0:
                    del self._holders[sha256]
                    if sha256 in self._unowned:
                        self._unowned.discard(sha256)
                        self._remove(sha256)

    def _remove(self, sha256: str) -> None:
        """Remove a file that this process has written; a failure leaves an unused file, never a wrong row."""
        storage = self._backend.storage
        try:
            with self._backend.database.read() as session:
                is_used = is_picture_used(session, sha256)
            if not is_used:
                storage.delete(asset_key(sha256))
        except DatabaseUnavailable:
            # The rows cannot be read, but this process created the file and added no row for it.
            storage.delete(asset_key(sha256))
        except (StorageUnavailable, ArtifactMissing) as error:
            _log.warning("asset_left_behind", sha256=sha256, detail=error.detail)


class UploadBatch:
    """The pictures that one request stores; they are kept or removed together."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self.held: list[str] = []

    def put(self, sha256: str, data: bytes) -> None:
        """Store a picture; it is removed if the batch ends with an error.

        Raises:
            StorageUnavailable: when the storage fails.
        """
        self._uploads.hold(sha256)
        self.held.append(sha256)
        self._uploads.store(sha256, data)

"""Whether a stored file is what a row says: its size, and its bytes where it is cheap to read them all."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock
from typing import BinaryIO

from shared.errors import ArtifactCorrupt, ArtifactMissing, FileDamaged
from shared.storage.layout import digest_in
from shared.storage.store import ArtifactStore

#: Files up to this size are read and hashed before they are served; that takes about 20 ms.
CHEAP_BYTES = 32_000_000
#: A checkpoint of the largest size has hundreds of megabytes: it is never held in memory as a whole.
_PIECE_BYTES = 1 << 20
_MOST_KNOWN = 10_000
_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK_HEAD_BYTES = 8
_JPEG_BEGIN, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def file_fault(
    store: ArtifactStore, key: str, *, sha256: str | None = None, size_bytes: int | None = None
) -> str | None:
    """Return in words what is wrong with a file; None when all is well. What is None is not compared.

    Raises:
        StorageUnavailable: when the storage cannot be asked.
    """
    try:
        check_file(store, key, sha256=sha256, size_bytes=size_bytes)
    except (ArtifactMissing, ArtifactCorrupt) as error:
        return error.detail
    return None


def check_file(
    store: ArtifactStore, key: str, *, sha256: str | None = None, size_bytes: int | None = None
) -> None:
    """Check all of a file's bytes.

    Raises:
        ArtifactMissing: when it is not there.
        FileDamaged: when it has another size or other bytes.
        StorageUnavailable: when the storage cannot be asked.
    """
    if size_bytes is not None:
        _compare_sizes(key, store.stat(key).size_bytes, size_bytes)
    if sha256 is not None:
        with store.open(key) as file:
            _compare_hashes(key, file, sha256)


class CheckedFiles:
    """Opens files for whoever is served them, and remembers which ones were read and found to be whole."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str, float, int], None] = OrderedDict()
        self._lock = Lock()

    def open(self, key: str, *, sha256: str | None = None, size_bytes: int | None = None) -> BinaryIO:
        """Return a reader of a file that has this size and, up to `CHEAP_BYTES`, this hash.

        Without a hash what the key has of it is compared, or else the checksums in a PNG itself. The caller
        closes it.

        Raises:
            ArtifactMissing: when it is not there.
            FileDamaged: when it is not what was written.
            StorageUnavailable: when the storage cannot be asked.
        """
        facts = self._store.stat(key)
        file = self._store.open(key)
        try:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            _compare_sizes(key, size, size_bytes)
            expected = sha256 or digest_in(key)
            known = (key, expected or "png", facts.modified_at.timestamp(), size)
            if size <= CHEAP_BYTES and not self._knows(known):
                if expected is not None:
                    _compare_hashes(key, file, expected)
                else:
                    _check_png(key, file)
                file.seek(0)
                self._learn(known)
        except BaseException:
            file.close()
            raise
        return file

    def _knows(self, known: tuple[str, str, float, int]) -> bool:
        with self._lock:
            return known in self._known

    def _learn(self, known: tuple[str, str, float, int]) -> None:
        with self._lock:
            self._known[known] = None
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)


def holds_file(store: ArtifactStore, key: str) -> bool:
    """Whether there is a file under a key, whatever is in it.

    Raises:
        StorageUnavailable: when the storage fails.
    """
    try:
        store.stat(key)
    except ArtifactMissing:
        return False
    return True


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256, in hex, of what is read from a file from where it is on."""
    digest = hashlib.sha256()
    for piece in _pieces(file):
        digest.update(piece)
    return digest.hexdigest()


def is_cut_off(jpeg: bytes) -> bool:
    """Whether the bytes of a JPEG that we wrote ourselves lack its beginning or its end.

    After a power cut a file may have its size and hold zeros.
    """
    return not (jpeg.startswith(_JPEG_BEGIN) and jpeg.endswith(_JPEG_END))


def _compare_sizes(key: str, size: int, expected: int | None) -> None:
    if expected is not None and size != expected:
        raise FileDamaged(f"{key} has {size} bytes; {expected} were written")
    if size == 0:
        raise FileDamaged(f"{key} is empty")


def _compare_hashes(key: str, file: BinaryIO, expected: str) -> None:
    """Compare with a SHA-256, or with the beginning of one."""
    found = sha256_of(file)
    if not found.startswith(expected):
        raise FileDamaged(f"{key} has the SHA-256 {found}; what was written has {expected}")


def _check_png(key: str, file: BinaryIO) -> None:
    """Compare the checksums of all chunks of a PNG; another file is let through."""
    if file.read(len(_PNG)) != _PNG:
        return
    while head := file.read(_CHUNK_HEAD_BYTES):
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        body, checksum = file.read(min(length, CHEAP_BYTES)), file.read(4)
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(checksum, "big") or len(checksum) < 4:
            break
        if kind == b"IEND":
            return
    raise FileDamaged(f"{key} is a PNG that is damaged or cut off")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece

"""The shelf of uploaded pictures in the storage: bytes are put there before their row is written."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import ArtifactExists, ArtifactMissing, DatabaseUnavailable, StorageUnavailable
from shared.logs import get_logger
from shared.storage.layout import asset_key
from shared.storage.store import ArtifactStore

_log = get_logger(__name__)


class AssetShelf:
    """Puts pictures away, and takes back what a refused or failed request has put there.

    Two requests of this process may carry the same picture at once: the bytes go only when the last of
    them has failed, and no row uses them.
    """

    def __init__(self, storage: ArtifactStore, *, is_used: Callable[[str], bool]) -> None:
        self._storage = storage
        self._is_used = is_used
        self._lock = threading.Lock()
        self._holders: Counter[str] = Counter()
        self._unowned: set[str] = set()

    @contextmanager
    def visit(self) -> Iterator[Visit]:
        """Open a visit; what was put there during it goes again when it ends with an error."""
        visit = Visit(self)
        try:
            yield visit
        except BaseException:
            self._leave(visit.held, keep=False)
            raise
        self._leave(visit.held, keep=True)

    def hold(self, sha256: str) -> None:
        """Note that a request needs these bytes to stay."""
        with self._lock:
            self._holders[sha256] += 1

    def store(self, sha256: str, data: bytes) -> None:
        """Store the bytes, or make those that are there already look new, so that no collector takes them.

        Raises:
            StorageUnavailable: when the storage fails.
        """
        key = asset_key(sha256)
        while True:
            try:
                self._storage.create(key, data)
                break
            except ArtifactExists:
                try:
                    self._storage.touch(key)
                except ArtifactMissing:
                    continue  # collected in this very moment
                return
        with self._lock:
            self._unowned.add(sha256)

    def _leave(self, held: list[str], *, keep: bool) -> None:
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
        """Remove bytes that this process has written; a failure leaves a file too many, no lie."""
        try:
            if not self._is_used(sha256):
                self._storage.delete(asset_key(sha256))
        except DatabaseUnavailable:
            # Rows cannot be asked, but these bytes were not there before us and we added no row.
            self._storage.delete(asset_key(sha256))
        except (StorageUnavailable, ArtifactMissing) as error:
            _log.warning("asset_left_behind", sha256=sha256, detail=error.detail)


class Visit:
    """One request's dealings with the shelf."""

    def __init__(self, shelf: AssetShelf) -> None:
        self._shelf = shelf
        self.held: list[str] = []

    def put(self, sha256: str, data: bytes) -> None:
        """Store a picture's bytes for as long as the visit goes well.

        Raises:
            StorageUnavailable: when the storage fails.
        """
        self._shelf.hold(sha256)
        self.held.append(sha256)
        self._shelf.store(sha256, data)

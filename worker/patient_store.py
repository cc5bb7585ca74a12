"""A store that is waited for: while the storage fails, an attempt stands still instead of being given up.

A disk that is full for a minute would otherwise take one attempt after the other from every job in the queue,
until all of them have failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any, TypeVar, cast

from shared.errors import StorageUnavailable
from shared.logs import get_logger
from shared.storage.store import ArtifactStore

_log = get_logger(__name__)
_PAUSE_SECONDS = 0.5
_Result = TypeVar("_Result")


def be_patient(store: ArtifactStore, *, patience_seconds: float, go_on: Callable[[], bool]) -> ArtifactStore:
    """Return a store each of whose methods is tried again for up to `patience_seconds` while it fails.

    It waits only as long as `go_on` says so; that may also raise. A `create` that failed may have left the
    file: the next try then finds it there, with its bytes.
    """
    return cast(ArtifactStore, _PatientStore(store, patience_seconds, go_on))


class _PatientStore:
    def __init__(self, store: ArtifactStore, patience_seconds: float, go_on: Callable[[], bool]) -> None:
        self._store = store
        self._patience_seconds = patience_seconds
        self._go_on = go_on

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)
        return lambda *words, **names: self._try(lambda: method(*words, **names))

    def list(self, prefix: str) -> Iterator[str]:
        """See `ArtifactStore.list`; it fails while it is read, so it is read at once."""
        return iter(self._try(lambda: [*self._store.list(prefix)]))

    def _try(self, act: Callable[[], _Result]) -> _Result:
        deadline, is_waiting = monotonic() + self._patience_seconds, False
        while True:
            try:
                result = act()
            except StorageUnavailable as error:
                if monotonic() > deadline or not self._go_on():
                    raise
                if not is_waiting:
                    _log.warning("storage_awaited", reason=error.detail)
                is_waiting = True
                sleep(_PAUSE_SECONDS)
            else:
                if is_waiting:
                    _log.info("storage_is_back")
                return result

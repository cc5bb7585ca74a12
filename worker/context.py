"""The tools of one worker process, and the store that an attempt waits for while the storage fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, TypeVar, cast

from shared.errors import StorageUnavailable
from shared.logs import get_logger
from shared.redis import Coordination
from shared.redis.names import Names
from shared.settings import Settings
from shared.storage import open_store
from shared.storage.store import ArtifactStore
from worker.node_state import NodeState

_PAUSE_SECONDS = 0.5

_log = get_logger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class WorkerContext:
    """The tools of one worker process; `worker_id` is the node's name and the token of its claims."""

    settings: Settings
    worker_id: str
    device: str
    store: ArtifactStore
    redis: Coordination
    #: What the node's parent process reads; of a runner without one, nobody does.
    node_state: NodeState = field(default_factory=NodeState)

    @classmethod
    def open(
        cls,
        settings: Settings,
        names: Names,
        *,
        worker_id: str,
        device: str,
        node_state: NodeState | None = None,
    ) -> WorkerContext:
        """Return the tools for the installation with these names; nothing is connected before it is used."""
        return cls(
            settings=settings,
            worker_id=worker_id,
            device=device,
            store=open_store(settings.resolved_storage_url),
            redis=Coordination.connect(settings, names),
            node_state=node_state or NodeState(),
        )

    def retrying_store(self, *, go_on: Callable[[], bool]) -> ArtifactStore:
        """Return the store as an attempt uses it; see `RetryingStore`."""
        # Longer than `stall_seconds` without a step, and the lease is gone anyway.
        store = RetryingStore(self.store, patience_seconds=self.settings.stall_seconds, go_on=go_on)
        return cast(ArtifactStore, store)


class RetryingStore:
    """A store each of whose methods is tried again for up to `patience_seconds` while it fails.

    It waits only as long as `go_on` says so; that may also raise. A `create` that failed may have left the
    file: the next try then finds it there, with its bytes.

    A disk that is full for a minute would otherwise take one attempt after the other from every job in the
    queue, until all of them have failed.
    """

    def __init__(self, store: ArtifactStore, *, patience_seconds: float, go_on: Callable[[], bool]) -> None:
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

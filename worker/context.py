"""The tools of one worker process, and the store that an attempt waits for while the storage fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic, sleep
from types import MappingProxyType
from typing import Any, TypeVar, cast

from shared.errors import AtelierError, FileDamaged, StorageUnavailable
from shared.installation import IDENTITY_KEY
from shared.logs import get_logger
from shared.redis import Coordination
from shared.redis.names import Names
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.store import ArtifactStore
from worker.aside import Aside
from worker.node_state import NodeState
from worker.talk import REPLY_SECONDS

#: Redis and the node's parent are told, and Redis is asked, at most this often: a fast device makes
#: hundreds of steps a second.
TALK_SECONDS = 0.1
_THREAD = "storage"
_PAUSE_SECONDS = 0.5
#: A write that goes on may take so long, even if the node is to end.
_ANSWER_SECONDS = 10.0
#: How long the store may take to say whose it is, before a job is claimed.
_LOOK_SECONDS = 15.0
#: What fails for so long while all else is well is wrong with the file.
_FILE_SECONDS = 10.0

_log = get_logger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class WorkerContext:
    """The tools of one worker process; `worker_id` is the node's name, `run` the id of this start of it.

    `live` is a second connection to the same Redis, for what is said while the device computes: it gives up
    soon.
    """

    settings: Settings
    worker_id: str
    device: str
    store: ArtifactStore
    redis: Coordination
    live: Coordination
    #: What the node's parent process reads; of a runner without one, nobody does.
    node_state: NodeState = field(default_factory=NodeState)
    run: str = ""
    #: How often an attempt tells where it is and hears what is asked of it, at most; 0 is at every step.
    talk_seconds: float = TALK_SECONDS
    #: By method what decides the bytes beside the job itself; see `worker.numerics`.
    numerics: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The token of the node's claims: the same for each child of a run, another for any other node."""
        return token_of(self.worker_id, self.run)

    @classmethod
    def open(
        cls,
        settings: Settings,
        names: Names,
        *,
        worker_id: str,
        device: str,
        node_state: NodeState | None = None,
        run: str = "",
        talk_seconds: float = TALK_SECONDS,
        numerics: Mapping[str, str] = MappingProxyType({}),
    ) -> WorkerContext:
        """Return the tools for the installation with these names; nothing is connected before it is used."""
        return cls(
            settings=settings,
            worker_id=worker_id,
            device=device,
            store=store_of(settings),
            redis=Coordination.connect(settings, names),
            live=Coordination.connect(settings, names, reply_seconds=REPLY_SECONDS, tries_again=False),
            node_state=node_state or NodeState(),
            run=run,
            talk_seconds=talk_seconds,
            numerics=numerics,
        )

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()
        self.live.close()

    def retrying_store(
        self, *, go_on: Callable[[], bool], patience_seconds: float | None = None
    ) -> ArtifactStore:
        """Return the store as an attempt uses it; see `RetryingStore`."""
        if patience_seconds is None:
            # Longer than `stall_seconds` without a step, and the lease is gone anyway.
            patience_seconds = self.settings.stall_seconds
        return cast(ArtifactStore, RetryingStore(self.store, patience_seconds=patience_seconds, go_on=go_on))

    def impatient_store(self, *, go_on: Callable[[], bool]) -> ArtifactStore:
        """Return the store as it is asked before a job is claimed: not for long."""
        return self.retrying_store(
            go_on=go_on, patience_seconds=min(_LOOK_SECONDS, self.settings.stall_seconds)
        )


def token_of(worker_id: str, run: str) -> str:
    """Return the token of the claims of a node's run; of a node that names no run it is its name."""
    return f"{worker_id}:{run}" if run else worker_id


class RetryingStore:
    """A store each of whose methods is tried again for up to `patience_seconds` while it fails.

    It waits only as long as `go_on` says so; that may also raise. A `create` that failed may have left the
    file: the next try then finds it there, with its bytes.

    A disk that is full for a minute would otherwise take one attempt after the other from every job in the
    queue, until all of them have failed. A mount whose server is gone does not fail: it does not answer, and
    whoever asks cannot be woken. So a thread asks, and is left behind when patience ends.
    """

    def __init__(self, store: ArtifactStore, *, patience_seconds: float, go_on: Callable[[], bool]) -> None:
        self._store = store
        self._patience_seconds = patience_seconds
        self._go_on = go_on
        self._aside = Aside(_THREAD)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)
        return lambda *words, **names: self._try(lambda: method(*words, **names))

    def list(self, prefix: str) -> Iterator[str]:
        """See `ArtifactStore.list`; it fails while it is read, so it is read at once."""
        return iter(self._try(lambda: [*self._store.list(prefix)]))

    def read(self, key: str) -> bytes:
        """See `ArtifactStore.read`; raise `FileDamaged` for a file that fails while the storage is well.

        As one with a bad sector, or whose rights somebody has changed: no waiting mends that.
        """
        return self._try(lambda: self._store.read(key), key=key)

    def _is_well(self, deadline: float) -> bool:
        """Whether the storage is ours, and can be written and read."""
        try:
            self._ask(lambda: self._store.read(IDENTITY_KEY), deadline)
            self._ask(self._store.check, deadline)
        except AtelierError:
            return False
        return True

    def _try(self, act: Callable[[], _Result], *, key: str | None = None) -> _Result:
        """Do something until it succeeds; what concerns one file is read, and may fail for that alone."""
        began = monotonic()
        deadline, is_waiting = began + self._patience_seconds, False
        while True:
            try:
                result = self._ask(act, deadline)
            except StorageUnavailable as error:
                if monotonic() > deadline or not self._go_on():
                    raise
                if key is not None and monotonic() - began > _FILE_SECONDS and self._is_well(deadline):
                    raise FileDamaged(f"{key} cannot be read, while others can: {error.detail}") from error
                if not is_waiting:
                    _log.warning("storage_awaited", reason=error.detail)
                is_waiting = True
                sleep(_PAUSE_SECONDS)
            else:
                if is_waiting:
                    _log.info("storage_is_back")
                return result

    def _ask(self, act: Callable[[], _Result], deadline: float) -> _Result:
        call = self._aside.do(act)
        began = monotonic()
        while not call.done.wait(_PAUSE_SECONDS):
            go_on, waited = self._go_on(), monotonic() - began
            if monotonic() > deadline or not (go_on or waited < _ANSWER_SECONDS):
                self._aside = Aside(_THREAD)  # the one before waits for an answer that may never come
                raise StorageUnavailable(f"the storage has not answered for {waited:.0f} s")
        return call.result()

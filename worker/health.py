"""The health of a node: whether it may take jobs, what it does not, and when it may again.

Runs in the child. A node that loses its storage, or that fails job after job, must not go through the whole
queue: it says so, takes nothing, and looks by itself whether it can go on.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from threading import Event, Lock, Thread
from time import monotonic

from shared.errors import (
    AtelierError,
    CheckpointInvalid,
    InvalidOptions,
    LossNotFinite,
    OutOfMemory,
    PictureRefused,
    RunTimeout,
    ServiceError,
)
from shared.installation import check_identity
from shared.logs import get_logger
from shared.redis.names import Names
from shared.storage.store import ArtifactStore
from worker.node_state import NodeState

#: So many jobs in a row that fail in a way that may be the node's own.
MOST_FAULTS = 3
_LOOK_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 900.0
#: Errors that say something of the job itself; wherever it is carried out, they come again.
_VERDICTS = (
    PictureRefused,
    InvalidOptions,
    LossNotFinite,
    CheckpointInvalid,
    RunTimeout,
)

_log = get_logger(__name__)


class Blame(StrEnum):
    """Whose fault an error is, until the opposite is shown."""

    JOB = "job"
    NODE = "node"
    #: The job asks for much, or this device has little: another one may have more, and the node works.
    EITHER = "either"


def decide_blame(error: Exception, *, is_reading: bool) -> Blame:
    """Decide about an error that ended an attempt; `is_reading`: it came while its files were read.

    A file that is missing or damaged may be so for this node alone, and so may whatever the engine, its
    driver or its device raise, and whatever ends its process (the kernel does so when memory is short).
    """
    if isinstance(error, OutOfMemory):
        return Blame.EITHER
    return Blame.JOB if isinstance(error, _VERDICTS) and not is_reading else Blame.NODE


def decide_pause_seconds(faults_in_a_row: int) -> float:
    """Return how long a node rests after so many faults in a row: from the third on, ever twice as long."""
    if faults_in_a_row < MOST_FAULTS:
        return 0.0
    doubled: int = 2 ** min(faults_in_a_row - MOST_FAULTS, 16)
    return min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * doubled)


class Health:
    """Judges one node, and tells its parent through `node_state`; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        store: ArtifactStore,
        names: Names,
        node_state: NodeState,
        *,
        clock: Callable[[], float] = monotonic,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._store = store
        self._names = names
        self._node_state = node_state
        self._clock = clock
        self._look_seconds = look_seconds
        self._lock = Lock()
        self._watch: Thread | None = None
        self._well = Event()
        self._well.set()
        self._rests_until = float("-inf")
        reason = node_state.read().unhealthy
        if reason is not None:
            # The child before this one ended while it was unhealthy.
            self._rest(reason)

    def wait(self, seconds: float) -> bool:
        """Wait up to so long until the node is healthy, and return whether it is."""
        return self._well.wait(seconds)

    def check_storage(self, store: ArtifactStore) -> None:
        """Prove that the storage is the installation's.

        Raises:
            IdentityMissing, IdentityWrong, StorageUnavailable: when it is not, or cannot be asked.
        """
        check_identity(store, self._names)

    def lose_storage(self, error: ServiceError) -> None:
        """Note that this node cannot use its storage; it is unhealthy until it can read and write there."""
        self._become(f"{error.title()} {error.detail}" if error.detail != error.title() else error.detail)

    def fail(self, error: AtelierError) -> None:
        """Note that a job was handed back for an error that may be the node's own."""
        self._node_state.add_fault()
        if self._node_state.faults_in_a_row >= MOST_FAULTS:
            count = self._node_state.faults_in_a_row
            self._rest(f"it failed {count} jobs in a row; the last: {error.code}: {error.detail}")

    def succeed(self) -> None:
        """Note that a job was carried out."""
        self._node_state.end_faults()

    def look(self) -> bool:
        """Look whether an unhealthy node can go on, and return whether it is healthy."""
        try:
            check_identity(self._store, self._names)
            self._store.check()
        except ServiceError as error:
            self.lose_storage(error)
            return False
        except AtelierError as error:
            # What was just written is not there: a storage that forgets.
            self._become(f"the storage does not keep what is written: {error.detail}")
            return False
        if self._clock() < self._rests_until:
            return False
        with self._lock:
            _log.info("node_healthy")
            self._watch = None
            self._node_state.be_healthy()
            self._well.set()
        return True

    def _rest(self, reason: str) -> None:
        self._rests_until = self._clock() + decide_pause_seconds(self._node_state.faults_in_a_row)
        self._become(reason)

    def _become(self, reason: str) -> None:
        with self._lock:
            if reason != self._node_state.read().unhealthy:
                _log.error("node_unhealthy", reason=reason)
            self._node_state.be_unhealthy(reason)
            self._well.clear()
            if self._watch is None:
                self._watch = Thread(target=self._keep_looking, name="health", daemon=True)
                self._watch.start()

    def _keep_looking(self) -> None:
        while not self._well.wait(self._look_seconds):
            try:
                if self.look():
                    return
            except Exception:  # noqa: BLE001 - whatever it is, the next look may tell
                _log.exception("health_not_looked_at")

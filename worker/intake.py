"""Whether a node takes messages: the decision, and the look at the storage that it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

from shared.errors import IdentityWrong, ServiceError
from shared.installation import check_identity
from shared.logs import get_logger
from shared.redis.names import Names
from shared.settings import Settings
from shared.storage.store import ArtifactStore, Room, is_too_full
from worker.node_state import NodeState

_LOOK_SECONDS = 2.0
#: A look that has not come back for so long hangs.
_HANGS_SECONDS = 15.0

_log = get_logger(__name__)


@dataclass(frozen=True)
class IntakeFacts:
    """What a node's parent process knows.

    `unhealthy` is why its child takes no jobs, `refusal` why Redis hands out none. `sight_age_seconds` is how
    long ago the child saw its storage, None before the first look has come back; `unseen_seconds` is how long
    that look takes. `is_holding`: it has a message that is not
    acknowledged; `is_taking`: it takes messages now.
    """

    is_ready: bool
    is_draining: bool
    is_named: bool
    is_holding: bool
    is_taking: bool
    unhealthy: str | None = None
    refusal: str | None = None
    #: Why no job is begun: the storage is too full.
    no_room: str | None = None
    sight_age_seconds: float | None = None
    unseen_seconds: float = 0.0


@dataclass(frozen=True)
class Intake:
    """Whether the node takes messages, and what people are told why not."""

    taking: bool
    reason: str | None = None


def decide_intake(facts: IntakeFacts) -> Intake:
    """Decide about the next message.

    A node that has one goes on as it was: with it in hand it is sent no other, unless it has connected anew,
    and then it waits until it is free. A refusal of Redis is known to be over only by asking again.
    """
    if facts.is_draining:
        return Intake(False)
    if facts.unhealthy is not None:
        return Intake(False, facts.unhealthy)
    if facts.no_room is not None:
        return Intake(False, facts.no_room)
    if facts.sight_age_seconds is None and facts.unseen_seconds > _HANGS_SECONDS:
        return Intake(False, "the storage does not answer")
    if not facts.is_ready or not facts.is_named or facts.sight_age_seconds is None:
        return Intake(False)
    if facts.sight_age_seconds > _HANGS_SECONDS and not facts.is_holding:
        return Intake(False, "the storage does not answer")
    return Intake(facts.is_taking or not facts.is_holding, facts.refusal)


def decide_no_room(room: Room | None, settings: Settings) -> str | None:
    """Return why no job is begun for want of room; None where there is enough, or nothing is known of it."""
    if room is None or not is_too_full(room, settings):
        return None
    return (
        f"the storage has {room.free_bytes} of {room.total_bytes} bytes left; jobs are begun while at least "
        f"{settings.min_free_bytes} are"
    )


class StorageWatch:
    """Looks at the storage every 2 s, from a thread of the child: a mount that hangs stops only that."""

    def __init__(
        self,
        store: ArtifactStore,
        names: Names,
        node_state: NodeState,
        *,
        on_lost: Callable[[ServiceError], None],
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """Prepare to look; `on_lost` is told what is wrong whenever the storage is not the right one."""
        self._store = store
        self._names = names
        self._node_state = node_state
        self._on_lost = on_lost
        self._look_seconds = look_seconds
        self._stopping = Event()
        self._thread = Thread(target=self._keep_looking, name="storage", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._node_state.await_storage()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Look once, and tell the parent."""
        try:
            check_identity(self._store, self._names)
        except IdentityWrong as error:
            # Another storage was mounted, or control has given this one its identity.
            self._on_lost(error)
            self._node_state.be_moved()
        except ServiceError as error:
            self._on_lost(error)
        self._node_state.see_storage()

    def _keep_looking(self) -> None:
        while True:
            try:
                self.look()
            except Exception:  # noqa: BLE001 - whatever it is, the next look may tell
                _log.exception("storage_not_looked_at")
            if self._stopping.wait(self._look_seconds):
                return

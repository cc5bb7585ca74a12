"""The backend of web and control: database, storage and Redis, each connected once per process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, RedisUnavailable, StorageFull, StorageUnavailable
from shared.installation import check_identity
from shared.logs import get_logger
from shared.redis import Coordination
from shared.redis.control import ControlBoard, control_fault
from shared.redis.live import LiveProgress, ProgressStore
from shared.redis.workers import WorkerBeat, WorkerRegistry
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.store import ArtifactStore, Room, is_too_full
from web.access.limits import CallerLimits, result_bytes
from web.db.database import Database
from web.identity import Identity, establish_identity
from web.protection import note_older_database
from web.shared_reads import SharedReads

_AWAY_SECONDS = 5.0
_T = TypeVar("_T")
_log = get_logger(__name__)


@dataclass(frozen=True)
class Backend:
    """The domain's connections. It knows neither requests nor the limits of the web process."""

    settings: Settings
    identity: Identity
    database: Database
    storage: ArtifactStore
    redis: Coordination
    live: LiveReader
    #: What many ask for at once, read once.
    shared: SharedReads = field(default_factory=SharedReads)

    @classmethod
    def open(cls, settings: Settings, *, reply_seconds: float = 10, upgrade: bool = True) -> Backend:
        """Connect everything; Redis need not be available.

        Args:
            settings: Where database, storage and Redis are.
            reply_seconds: How long Redis may take for a reply.
            upgrade: Whether to migrate the database to this version, and to make the identity.

        Raises:
            DatabaseUnavailable: when the database cannot be opened, or needs an upgrade that is not allowed.
            IdentityMissing, IdentityWrong: when database and storage do not belong together.
            StorageUnavailable: when the storage cannot be read.
            InvalidSettings: when the scheme of the storage's URL is unknown.
        """
        storage = store_of(settings)
        database = Database(settings.resolved_database_url)
        if upgrade:
            database.upgrade()
        else:
            database.require_current()
        identity = establish_identity(database, storage, now=utc_now(), may_make=upgrade)
        note_older_database(database, storage, now=utc_now())
        redis = Coordination.connect(settings, identity.installation.names, reply_seconds=reply_seconds)
        return cls(
            settings,
            identity,
            database,
            storage,
            redis,
            LiveReader(redis.progress, redis.workers, lobby=redis.lobby, control=redis.control),
        )

    def check_storage(self) -> None:
        """Prove that the storage that is seen now is that of this installation.

        Raises:
            IdentityMissing, IdentityWrong: when it is none, or another one.
            StorageUnavailable: when it cannot be read.
        """
        check_identity(self.storage, self.identity.installation.names)

    def recent_workers(self) -> list[WorkerBeat] | None:
        """Return the workers as they were at most a second ago; None while Redis cannot be asked."""
        return self.shared.get("workers", self.live.workers)

    def limits_of(self, caller: str, *, adds_bytes: bool = False) -> CallerLimits:
        """Return the limits of a caller; for what `adds_bytes` with those of their results, a second old.

        Raises:
            DatabaseUnavailable: when the database cannot be asked.
        """

        def read() -> int:
            with self.database.read() as session:
                return result_bytes(session, caller)

        is_counted = adds_bytes and self.settings.max_stored_bytes > 0
        return CallerLimits(
            caller,
            max_jobs=self.settings.max_jobs,
            max_drafts=self.settings.max_drafts,
            max_stored_bytes=self.settings.max_stored_bytes,
            results=self.shared.get(("result bytes", caller), read) if is_counted else 0,
        )

    def rooms(self) -> dict[str, Room]:
        """Return the room on the disks of `storage` and `database`, of those that can be measured."""
        rooms: dict[str, Room | None] = {}
        with suppress(StorageUnavailable):
            rooms["storage"] = self.storage.room()
        with suppress(DatabaseUnavailable):
            rooms["database"] = self.database.room()
        return {name: room for name, room in rooms.items() if room is not None}

    def find_no_room(self) -> StorageFull | None:
        """Return why nothing more is taken in, if the disk of the storage or of the database is too full.

        What cannot be measured is not too full: whoever writes there hears what is wrong.
        """
        return decide_room(self.rooms(), self.settings)

    def require_room(self) -> None:
        """Refuse to take anything in while the disks are too full.

        Raises:
            StorageFull: with what was measured and what is allowed.
        """
        refusal = self.find_no_room()
        if refusal is not None:
            raise refusal

    def close(self) -> None:
        """Close all connections."""
        self.redis.close()
        self.database.close()


def decide_room(rooms: Mapping[str, Room], settings: Settings) -> StorageFull | None:
    """Return the refusal of new work, if it is due; `rooms` are those of the parts that keep it, by name."""
    for name, room in rooms.items():
        if is_too_full(room, settings):
            return StorageFull(
                f"the disk of the {name} has {room.free_bytes} of {room.total_bytes} bytes left; new work is "
                f"taken in while at least {settings.min_free_bytes} are"
            )
    return None


class LiveReader:
    """Reads live progress and workers from Redis; all of it is optional.

    After a failure it does not ask again for 5 s, so that a Redis that does not answer delays one request
    by its time-out, and not every one.
    """

    def __init__(
        self,
        progress: ProgressStore,
        workers: WorkerRegistry,
        *,
        lobby: WorkerRegistry,
        control: ControlBoard,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._workers = workers
        self._lobby = lobby
        self._control = control
        self._monotonic = monotonic
        self._away_until = 0.0

    def progress(self, job_ids: list[str]) -> dict[str, LiveProgress]:
        """Return the live progress of those of the jobs that have some."""
        return self._ask(lambda: self._progress.read(job_ids)) or {}

    def workers(self) -> list[WorkerBeat] | None:
        """Return the workers that are alive, sorted by id; None when Redis cannot be asked.

        Among them are those of the lobby: nodes that see no identity, and nodes of the first release.
        """
        found = self._ask(lambda: [*self._workers.alive(), *self._lobby.alive()])
        return None if found is None else sorted(found, key=lambda beat: beat.worker_id)

    def eligible_workers(self) -> int | None:
        """Return how many workers take jobs; None when Redis cannot be asked."""
        beats = self.workers()
        return None if beats is None else sum(beat.takes_jobs for beat in beats)

    def control_fault(self) -> str | None:
        """Return why control starts no jobs, in one sentence; None when it does, or cannot be asked."""
        return self._ask(lambda: control_fault(self._control.read(), keeps_jobs_waiting=True))

    def _ask(self, question: Callable[[], _T]) -> _T | None:
        if self._monotonic() < self._away_until:
            return None
        try:
            return question()
        except RedisUnavailable as error:
            self._away_until = self._monotonic() + _AWAY_SECONDS
            _log.warning("redis_away", detail=error.detail)
            return None

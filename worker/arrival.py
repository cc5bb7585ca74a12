"""The arrival of a node: what it tells of itself, and its wait for the storage of its installation."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Mapping
from types import MappingProxyType

from shared.clock import utc_now
from shared.errors import RedisUnavailable, ServiceError, StorageUnavailable
from shared.installation import names_at
from shared.logs import get_logger
from shared.options import Method
from shared.processes import StopSignal, this_process
from shared.protocol import new_id
from shared.redis import Coordination
from shared.redis.names import FIRST_NAMES, Names
from shared.redis.workers import WorkerBeat, WorkerState
from shared.release import this_release
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.store import ArtifactStore
from worker.aside import Aside, Call
from worker.devices import Device

_STORAGE_SECONDS = 2.0
#: A storage that has not answered for so long is told as one that hangs.
_ANSWER_SECONDS = 5.0

_log = get_logger(__name__)


def first_beat(
    name: str,
    device: Device,
    weights: str,
    methods: Collection[Method],
    numerics: Mapping[str, str] = MappingProxyType({}),
    not_served: Mapping[str, str] = MappingProxyType({}),
    labels: Mapping[str, str] = MappingProxyType({}),
) -> WorkerBeat:
    """Return what does not change in the beats of a run of a node that begins now."""
    now, release = utc_now(), this_release()
    return WorkerBeat(
        worker_id=name,
        host=socket.gethostname(),
        device=device.label,
        weights=weights,
        methods=sorted(methods),
        numerics=dict(numerics),
        not_served=dict(not_served),
        labels=dict(labels),
        version=release.version,
        build=release.build,
        protocol=release.protocol,
        started_at=now,
        at=now,
        run=new_id(),
        process=this_process(),
    )


def wait_for_names(
    settings: Settings, beat: WorkerBeat, *, stopping: StopSignal, store: ArtifactStore | None = None
) -> Names | None:
    """Return the Redis names of the installation whose storage this machine sees; None when told to stop.

    Until it sees one, the node says so under the names that belong to no installation: every service on this
    Redis shows it as unhealthy. A mount that hangs is one that it does not see.
    """
    sight = _Sight(store or store_of(settings))
    lobby = Coordination.connect(settings, FIRST_NAMES).workers
    told = ""
    try:
        while not stopping.is_set():
            try:
                return sight.names()
            except ServiceError as error:
                if error.detail != told:
                    told = error.detail
                    _log.error("storage_not_usable", code=error.code, detail=error.detail)
                unhealthy = {"state": WorkerState.UNHEALTHY, "reason": error.detail, "at": utc_now()}
                with contextlib.suppress(RedisUnavailable):
                    lobby.beat(beat.model_copy(update=unhealthy))
                    if lobby.is_drain_asked(beat):
                        return None
                stopping.wait(_STORAGE_SECONDS)
        return None
    finally:
        if told:
            with contextlib.suppress(RedisUnavailable):
                lobby.leave(beat.worker_id, run=beat.run)


class _Sight:
    """Asks the storage whose it is, from a thread that is left behind when no answer comes."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._aside = Aside("storage")
        self._asked: Call[Names] | None = None

    def names(self) -> Names:
        """Return the names of the installation.

        Raises:
            IdentityMissing, IdentityWrong, StorageUnavailable: as `names_at`, or when it does not answer.
        """
        if self._asked is None:
            self._asked = self._aside.do(lambda: names_at(self._store))
        if not self._asked.done.wait(_ANSWER_SECONDS):
            # It is not asked twice: threads must not pile up behind a mount that is gone.
            raise StorageUnavailable("the storage does not answer")
        asked, self._asked = self._asked, None
        return asked.result()

"""What a runner works with besides the engine: settings, storage, and the coordination through Redis."""

from __future__ import annotations

from dataclasses import dataclass, field

import redis

from shared.coordination.claims import Claims
from shared.coordination.connection import connect_redis
from shared.coordination.flags import Flags
from shared.coordination.progress import ProgressBoard
from shared.coordination.stream import EventStream
from shared.settings import Settings
from shared.storage.store import ArtifactStore, open_store
from worker.slate import Slate


@dataclass(frozen=True)
class Desk:
    """The tools of one worker process; `worker_id` is the node's name and the token of its claims."""

    settings: Settings
    worker_id: str
    device: str
    store: ArtifactStore
    client: redis.Redis
    claims: Claims
    flags: Flags
    board: ProgressBoard
    stream: EventStream
    #: What the node's parent process reads; of a runner without one, nobody does.
    slate: Slate = field(default_factory=Slate)


def open_desk(settings: Settings, *, worker_id: str, device: str, slate: Slate | None = None) -> Desk:
    """Open the tools; nothing is connected before it is used."""
    client = connect_redis(settings)
    return Desk(
        settings=settings,
        worker_id=worker_id,
        device=device,
        store=open_store(settings.resolved_storage_url),
        client=client,
        claims=Claims(client, lease_seconds=settings.lease_seconds, max_deliveries=settings.max_deliveries),
        flags=Flags(client),
        board=ProgressBoard(client),
        stream=EventStream(client),
        slate=slate or Slate(),
    )

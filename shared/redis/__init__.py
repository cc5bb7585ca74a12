"""Coordination through Redis: claims, flags, live progress, events, workers.

All of it may be lost at any time: the database is the source of truth, and control restores what is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from shared.redis.claims import Claims
from shared.redis.connection import Epoch, connect_redis
from shared.redis.control import ControlBoard
from shared.redis.live import Flags, ProgressStore
from shared.redis.names import FIRST_NAMES, Names
from shared.redis.rates import RateCounters
from shared.redis.set_aside import SetAside
from shared.redis.stream import EventStream
from shared.redis.workers import WorkerRegistry
from shared.settings import Settings


@dataclass(frozen=True)
class Coordination:
    """The Redis tools of web, control and workers, over one client that connects when first used."""

    client: redis.Redis
    names: Names
    claims: Claims
    flags: Flags
    progress: ProgressStore
    stream: EventStream
    workers: WorkerRegistry
    #: Nodes of no installation: they see no identity, or are of the first release.
    lobby: WorkerRegistry
    epoch: Epoch
    control: ControlBoard
    #: Entries of the broker that cannot be read.
    set_aside: SetAside
    rates: RateCounters

    @classmethod
    def connect(
        cls, settings: Settings, names: Names, *, reply_seconds: float = 10, tries_again: bool = True
    ) -> Coordination:
        """Return the tools of the installation with these names; nothing is connected before it is used.

        A command without a reply within `reply_seconds` raises `RedisUnavailable`; by default only after the
        client has tried it again.
        """
        client = connect_redis(settings, reply_seconds=reply_seconds, tries_again=tries_again)
        return cls(
            client=client,
            names=names,
            claims=Claims(
                client,
                names,
                lease_seconds=settings.lease_seconds,
                max_deliveries=settings.max_deliveries,
            ),
            flags=Flags(client, names),
            progress=ProgressStore(client, names),
            stream=EventStream(client, names),
            workers=WorkerRegistry(client, names, worker_seconds=settings.worker_seconds),
            lobby=WorkerRegistry(client, FIRST_NAMES, worker_seconds=settings.worker_seconds),
            epoch=Epoch(client, names),
            control=ControlBoard(client, names),
            set_aside=SetAside(client, names),
            rates=RateCounters(client, names),
        )

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

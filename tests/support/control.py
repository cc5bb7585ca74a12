"""A heartbeat of control, for tests of a web process that has none beside it."""

from __future__ import annotations

from typing import Any

from shared.clock import utc_now
from shared.redis import Coordination
from shared.redis.control import ControlBeat


def pretend_control(redis: Coordination, **facts: Any) -> None:
    """Let control seem to run, for as long as Redis keeps its data; `facts` are what else it tells."""
    now = utc_now()
    beat = ControlBeat(**{"started_at": now, "at": now, **facts})
    redis.client.set(redis.names.key("control"), beat.model_dump_json())

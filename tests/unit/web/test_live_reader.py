"""Reading hints: a Redis that is away is not asked again and again."""

from __future__ import annotations

from shared.clock import utc_now
from shared.errors import RedisUnavailable
from shared.redis.workers import WorkerBeat
from web.backend import LiveReader

WORKER = WorkerBeat(worker_id="a", device="cpu", weights="w", started_at=utc_now(), at=utc_now())


class Nobody:
    def alive(self):
        return []


class Away:
    """A Redis that may be away, and counts how often it is asked."""

    def __init__(self):
        self.asked = 0
        self.is_away = True

    def read(self, job_ids):
        self.asked += 1
        if self.is_away:
            raise RedisUnavailable
        return dict.fromkeys(job_ids, "progress")

    def alive(self):
        self.read([])
        return [WORKER]


def test_pause_after_a_failure():
    part, now = Away(), [100.0]
    live = LiveReader(part, part, lobby=Nobody(), control=Nobody(), monotonic=lambda: now[0])
    assert live.progress(["a"]) == {}
    assert live.workers() is None
    assert part.asked == 1
    part.is_away = False
    now[0] += 4.9
    assert live.workers() is None
    assert part.asked == 1
    now[0] += 0.2
    assert live.workers() == [WORKER]
    assert live.progress(["a"]) == {"a": "progress"}

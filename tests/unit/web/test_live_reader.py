"""Reading hints: a Redis that is away is not asked again and again."""

from __future__ import annotations

from shared.errors import RedisUnavailable
from web.backend import LiveReader


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
        return list(self.read(["worker"]))


def test_pause_after_a_failure():
    part, now = Away(), [100.0]
    live = LiveReader(part, part, monotonic=lambda: now[0])
    assert live.progress(["a"]) == {}
    assert live.workers() is None
    assert part.asked == 1
    part.is_away = False
    now[0] += 4.9
    assert live.workers() is None
    assert part.asked == 1
    now[0] += 0.2
    assert live.workers() == ["worker"]
    assert live.progress(["a"]) == {"a": "progress"}

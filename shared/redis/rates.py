"""Counts of requests by caller: what all web processes count together, each for the rest of its window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from shared.redis.connection import redis_errors
from shared.redis.names import Names

#: Adds to each count. One that begins, or that somebody has put there, ends when the one who adds says so.
_ADD = """
local found = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'string' and kind ~= 'none' then redis.call('DEL', key) end
  local held = redis.call('GET', key)
  if held and not (#held < 10 and held:match('^%d+$')) then redis.call('DEL', key) end
  local used = redis.call('INCRBY', key, ARGV[2 * i - 1])
  local left = redis.call('PTTL', key)
  if left < 0 or left > LONGEST_MS then
    left = tonumber(ARGV[2 * i])
    redis.call('PEXPIRE', key, left)
  end
  found[2 * i - 1] = used
  found[2 * i] = left
end
return found
"""
WINDOW_SECONDS = 60


class RateCount(NamedTuple):
    """How many requests of a caller there were in a window, and how long that still lasts, in ms."""

    used: int
    left_ms: int


class RateCounters:
    """The counts of all callers. Every method raises `RedisUnavailable` when Redis does not answer."""

    def __init__(self, client: redis.Redis, names: Names) -> None:
        self._names = names
        self._add = client.register_script(_ADD.replace("LONGEST_MS", str(WINDOW_SECONDS * 1000)))

    def add(self, counts: Sequence[tuple[str, RateCount]]) -> list[RateCount]:
        """Add what was counted of each caller; return what all processes have counted of them, in order.

        Where a window has begun already, the rest of that one holds, and not the one that is given.
        """
        if not counts:
            return []
        keys = [self._names.key("rate", caller) for caller, _ in counts]
        numbers = [number for _, count in counts for number in count]
        with redis_errors():
            found: list[Any] = self._add(keys=keys, args=numbers)
        return [RateCount(int(used), int(left)) for used, left in zip(found[::2], found[1::2], strict=True)]

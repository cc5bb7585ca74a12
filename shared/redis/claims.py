"""Claim, lease and fence: which node may work on which attempt of a job.

A claim's token is a node's name and the id of its run: a node whose child process died can claim its own job
again at once, and a second node that was given the same name cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

import redis

from shared.protocol import MAX_ATTEMPT
from shared.redis.connection import is_wrong_type, redis_errors
from shared.redis.names import Names

_FENCE_SECONDS = 30 * 24 * 3600
_DIGITS = re.compile(r"[0-9]{1,9}")

#: Goes before every script. What somebody else put under our names is no fence and no lease: it goes. All of
#: our leases run out.
_READ_FENCE = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
if KEYS[2] then
  kind = redis.call('TYPE', KEYS[2]).ok
  if (kind ~= 'string' and kind ~= 'none') or redis.call('PTTL', KEYS[2]) == -1 then
    redis.call('DEL', KEYS[2])
  end
end
local fence = redis.call('HGET', KEYS[1], 'attempt')
local attempt = fence and fence:match('^%d+$') and tonumber(fence)
if fence and (not attempt or attempt > MAX_ATTEMPT) then
  redis.call('DEL', KEYS[1])
  attempt = nil
end
""".replace("MAX_ATTEMPT", str(MAX_ATTEMPT))

_CLAIM = """
if attempt and attempt > tonumber(ARGV[1]) then return 'stale' end
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[2] then return 'held' end
redis.call('HSET', KEYS[1], 'attempt', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[5])
local counter = 'deliveries:' .. ARGV[1]
local counted = redis.call('HGET', KEYS[1], counter) or '0'
if #counted > 9 or not counted:match('^%d+$') then redis.call('HDEL', KEYS[1], counter) end
local deliveries = redis.call('HINCRBY', KEYS[1], counter, 1)
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if deliveries > tonumber(ARGV[4]) then return 'poison' end
return 'ok'
"""

_RENEW = """
if attempt and attempt > tonumber(ARGV[1]) then return 'stale' end
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[2] then return 'held' end
redis.call('HSET', KEYS[1], 'attempt', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if owner then return 'ok' end
return 'restored'
"""

_RELEASE = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'deliveries:' .. ARGV[1])
if ARGV[3] == 'ended' then redis.call('HSET', KEYS[1], 'attempt', ARGV[1] + 1) end
return 1
"""

_FENCE = """
if not attempt or attempt < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'attempt', ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 1
"""


class Verdict(StrEnum):
    """The answer to a claim or a renewal."""

    #: The caller holds the lease.
    OK = "ok"
    #: The caller holds the lease again after Redis had lost it.
    RESTORED = "restored"
    #: There is a higher attempt: this one must stop.
    STALE = "stale"
    #: Another node holds the lease.
    HELD = "held"
    #: This attempt was delivered too often; its worker keeps dying. The caller holds the lease, so as to say
    #: so before anybody else begins; its release counts anew.
    POISON = "poison"


class Claims:
    """The claims, leases and fences of all jobs; each call is one atomic script.

    Every method raises `RedisUnavailable` when Redis does not answer.
    """

    def __init__(
        self, client: redis.Redis, names: Names, *, lease_seconds: float = 30, max_deliveries: int = 3
    ) -> None:
        self._client = client
        self._names = names
        self._lease_ms = int(lease_seconds * 1000)
        self._max_deliveries = max_deliveries
        self._claim = client.register_script(_READ_FENCE + _CLAIM)
        self._renew = client.register_script(_READ_FENCE + _RENEW)
        self._release = client.register_script(_READ_FENCE + _RELEASE)
        self._fence = client.register_script(_READ_FENCE + _FENCE)

    def claim(self, job_id: str, attempt: int, *, token: str) -> Verdict:
        """Try to take the lease on an attempt, and count the delivery."""
        arguments: list[str | int] = [attempt, token, self._lease_ms, self._max_deliveries, _FENCE_SECONDS]
        with redis_errors():
            return Verdict(self._claim(keys=self._keys(job_id), args=arguments))

    def renew(self, job_id: str, attempt: int, *, token: str) -> Verdict:
        """Extend the lease; one that Redis lost is taken again, unless another node holds it."""
        with redis_errors():
            return Verdict(
                self._renew(keys=self._keys(job_id), args=[attempt, token, self._lease_ms, _FENCE_SECONDS])
            )

    def release(self, job_id: str, attempt: int, *, token: str, ended: bool) -> None:
        """Release the lease, if `token` holds it; with `ended`, a late duplicate of the attempt is stale."""
        with redis_errors():
            self._release(keys=self._keys(job_id), args=[attempt, token, "ended" if ended else "open"])

    def fence(self, job_id: str, attempt: int) -> None:
        """Make every lower attempt stale from now on."""
        with redis_errors():
            self._fence(keys=[self._keys(job_id)[0]], args=[attempt, _FENCE_SECONDS])

    def fences(self, job_ids: Sequence[str]) -> dict[str, int]:
        """Return the fences of those of the jobs that have one: every attempt below it is stale."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hget(self._keys(job_id)[0], "attempt")
            answers = pipeline.execute(raise_on_error=False)
        found = {}
        for job_id, answer in zip(job_ids, answers, strict=True):
            if isinstance(answer, redis.ResponseError) and not is_wrong_type(answer):
                with redis_errors():
                    raise answer
            if isinstance(answer, str) and _DIGITS.fullmatch(answer) and int(answer) <= MAX_ATTEMPT:
                found[job_id] = int(answer)
        return found

    def without_lease(self, job_ids: Iterable[str]) -> list[str]:
        """Return those of the jobs that no node holds a lease on."""
        ids = list(job_ids)
        if not ids:
            return []
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for job_id in ids:
                pipeline.pttl(self._keys(job_id)[1])
            lefts = pipeline.execute()
        # -2: there is none. -1: one that never runs out, which is none of ours.
        return [job_id for job_id, left_ms in zip(ids, lefts, strict=True) if left_ms < 0]

    def _keys(self, job_id: str) -> list[str]:
        return [self._names.key("job", job_id), self._names.key("lease", job_id)]

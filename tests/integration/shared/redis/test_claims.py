"""Claims against a real Redis: one holder, fencing, poison, and what is left after a loss."""

from __future__ import annotations

import pytest
import redis

from shared.redis.claims import Claims, Verdict
from shared.redis.names import Names

NAMES = Names("test")


@pytest.fixture
def claims(redis_client: redis.Redis) -> Claims:
    return Claims(redis_client, NAMES)


def test_one_holder_at_a_time(redis_client: redis.Redis):
    claims = Claims(redis_client, NAMES)
    assert claims.claim("j", 1, token="a") is Verdict.OK
    assert claims.claim("j", 1, token="b") is Verdict.HELD
    assert claims.claim("j", 1, token="a") is Verdict.OK
    claims.release("j", 1, token="b", ended=False)
    assert claims.without_lease(["j"]) == []
    claims.release("j", 1, token="a", ended=False)
    assert claims.without_lease(["j"]) == ["j"]
    assert claims.claim("j", 1, token="b") is Verdict.OK


def test_a_lower_attempt_is_stale(redis_client: redis.Redis):
    claims = Claims(redis_client, NAMES)
    assert claims.claim("j", 1, token="a") is Verdict.OK
    claims.fence("j", 2)
    assert claims.renew("j", 1, token="a") is Verdict.STALE
    assert claims.claim("j", 1, token="a") is Verdict.STALE
    claims.fence("j", 1)
    assert claims.claim("j", 1, token="a") is Verdict.STALE


def test_an_ended_attempt_is_stale_and_the_next_is_not(redis_client: redis.Redis):
    claims = Claims(redis_client, NAMES)
    claims.claim("j", 1, token="a")
    claims.release("j", 1, token="a", ended=True)
    assert claims.claim("j", 1, token="a") is Verdict.STALE
    assert claims.claim("j", 2, token="a") is Verdict.OK


def test_crashes_are_counted_and_clean_releases_are_not(redis_client: redis.Redis):
    claims = Claims(redis_client, NAMES, max_deliveries=2)
    for _ in range(3):
        assert claims.claim("j", 1, token="a") is Verdict.OK
        claims.release("j", 1, token="a", ended=False)
    assert [claims.claim("j", 1, token="a") for _ in range(3)] == [Verdict.OK, Verdict.OK, Verdict.POISON]
    assert claims.claim("j", 2, token="a") is Verdict.OK


def test_a_lease_runs_out_and_a_lost_one_is_restored(redis_client: redis.Redis):
    claims = Claims(redis_client, NAMES, lease_seconds=30)
    claims.claim("j", 1, token="a")
    assert 29_000 < redis_client.pttl(NAMES.key("lease", "j")) <= 30_000
    redis_client.flushall()
    assert claims.renew("j", 1, token="a") is Verdict.RESTORED
    assert claims.renew("j", 1, token="a") is Verdict.OK
    redis_client.flushall()
    assert claims.claim("j", 1, token="b") is Verdict.OK
    assert claims.renew("j", 1, token="a") is Verdict.HELD


JUNK_FENCES = ["junk", "-1", "1e9", "nan", "inf", "9" * 40, "99999999999", ""]


@pytest.mark.parametrize("fence", JUNK_FENCES)
def test_a_fence_that_is_none_is_removed(claims: Claims, redis_client: redis.Redis, fence: str):
    for act in (
        lambda: claims.claim("j", 1, token="a"),
        lambda: claims.renew("j", 1, token="a"),
    ):
        redis_client.hset(NAMES.key("job", "j"), mapping={"attempt": fence, "deliveries:1": "x" + fence})
        assert claims.fences(["j"]) == {}
        assert act() is Verdict.OK
        assert claims.fences(["j", "other"]) == {"j": 1}
    redis_client.hset(NAMES.key("job", "j"), "attempt", fence)
    claims.fence("j", 3)
    assert claims.fences(["j"]) == {"j": 3}


def test_keys_of_another_type_are_neither_fence_nor_lease(claims: Claims, redis_client: redis.Redis):
    redis_client.set(NAMES.key("job", "j"), "text")
    redis_client.lpush(NAMES.key("lease", "j"), "text")
    assert claims.fences(["j"]) == {}
    assert claims.without_lease(["j"]) == ["j"]
    assert claims.claim("j", 1, token="a") is Verdict.OK
    redis_client.delete(NAMES.key("lease", "j"))
    redis_client.hset(NAMES.key("lease", "j"), "a", "b")
    claims.release("j", 1, token="a", ended=True)
    assert claims.without_lease(["j"]) == ["j"]


def test_a_lease_that_never_runs_out_is_none_of_ours(claims: Claims, redis_client: redis.Redis):
    redis_client.set(NAMES.key("lease", "j"), "somebody")
    assert claims.without_lease(["j"]) == ["j"]
    assert claims.claim("j", 1, token="a") is Verdict.OK
    assert claims.without_lease(["j"]) == []

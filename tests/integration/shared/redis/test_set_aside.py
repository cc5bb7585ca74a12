"""What cannot be read is set aside: a bounded list to look at, to put back and to drop."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import redis

from shared.redis.names import FIRST_NAMES, Names
from shared.redis.set_aside import KEEP_CHARACTERS, SetAside

NAMES = Names("test")
QUEUE = NAMES.queue("any")
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def aside(redis_client: redis.Redis) -> SetAside:
    redis_client.flushall()
    return SetAside(redis_client, NAMES)


def put(aside: SetAside, entry: str, *, source: str = QUEUE, minutes: int = 0) -> None:
    aside.put(entry, reason="it is no JSON", source=source, now=NOW + timedelta(minutes=minutes))


def test_the_newest_entry_comes_first_and_tells_all_that_is_known(aside, redis_client):
    assert (aside.entries(), aside.count()) == ([], 0)
    put(aside, "junk")
    put(aside, "ünk\udc80", minutes=1)
    newest, oldest = aside.entries()
    assert (oldest.at, oldest.reason, oldest.source, oldest.entry) == (NOW, "it is no JSON", QUEUE, "junk")
    assert (newest.at, newest.entry) == (NOW + timedelta(minutes=1), r"ünk\udc80")
    assert aside.entries(limit=1) == [newest]
    assert json.loads(redis_client.lindex(NAMES.key("set-aside"), -1)) == {
        "at": "2026-11-26T12:00:00.000Z", "reason": "it is no JSON", "from": QUEUE, "entry": "junk",
    }  # fmt: skip


def test_an_entry_goes_back_to_its_list_behind_those_that_wait(aside, redis_client):
    redis_client.lpush(f"{QUEUE}:3", "waits")
    put(aside, "first", source=f"{QUEUE}:3")
    put(aside, "second")
    (found,) = [one for one in aside.entries() if one.entry == "first"]
    assert aside.requeue(found.id)
    # Workers take from the right.
    assert redis_client.lrange(f"{QUEUE}:3", 0, -1) == ["first", "waits"]
    assert [one.entry for one in aside.entries()] == ["second"]
    assert not aside.requeue(found.id)


def test_an_entry_is_dropped_once(aside, redis_client):
    put(aside, "first")
    put(aside, "second")
    (found,) = [one for one in aside.entries() if one.entry == "first"]
    assert aside.drop(found.id)
    assert not aside.drop(found.id)
    assert [one.entry for one in aside.entries()] == ["second"]
    assert not redis_client.exists(QUEUE)


def test_of_more_than_1000_the_newest_stay(aside):
    for number in range(1003):
        put(aside, str(number))
    assert aside.count() == 1000
    assert aside.entries(limit=2000)[0].entry == "1002"
    assert aside.entries(limit=2000)[-1].entry == "3"


def test_what_comes_again_is_counted_and_pushes_out_no_other(aside, redis_client):
    put(aside, "other")
    for number in range(3):
        aside.put('again "times": 7}', reason=f"reason {number}", source=QUEUE, now=NOW)
    again, other = aside.entries()
    assert (again.times, again.reason, other.times) == (3, "reason 2", 1)
    put(aside, 'again "times": 7}', source=f"{QUEUE}:3")
    assert [one.times for one in aside.entries()] == [1, 3, 1]
    put(aside, "other", minutes=1)
    assert aside.requeue(again.id)
    assert redis_client.lrange(QUEUE, 0, -1) == ['again "times": 7}']
    assert [one.times for one in aside.entries()] == [2, 1]


def test_a_key_of_another_type_holds_nothing_up(aside, redis_client):
    redis_client.set(NAMES.key("set-aside"), "somebody else's")
    assert (aside.entries(), aside.count(), aside.drop("x"), aside.requeue("x")) == ([], 0, False, False)
    put(aside, "junk")
    assert [one.entry for one in aside.entries()] == ["junk"]
    assert redis_client.get(NAMES.key("set-aside") + ":damaged") == "somebody else's"


def test_a_huge_entry_is_cut_and_does_not_go_back(aside, redis_client):
    put(aside, "x" * (KEEP_CHARACTERS + 1))
    (found,) = aside.entries()
    assert (found.entry, found.cut) == ("x" * KEEP_CHARACTERS, True)
    assert not aside.requeue(found.id)
    assert aside.drop(found.id)


@pytest.mark.parametrize("item", ["no JSON", "[]", '{"at": 1}', '{"at": "2026-11-26T12:00:00", "from": 1}'])
def test_what_others_wrote_into_the_list_is_shown_and_can_be_dropped(aside, redis_client, item):
    put(aside, "ours")
    redis_client.lpush(NAMES.key("set-aside"), item)
    theirs, ours = aside.entries()
    assert (theirs.entry, theirs.source, ours.entry) == (item, "", "ours")
    assert not aside.requeue(theirs.id)
    assert aside.drop(theirs.id)
    assert aside.count() == 1


def test_nothing_is_put_into_a_list_that_is_no_queue(aside, redis_client):
    put(aside, "x", source="somewhere else")
    assert not aside.requeue(aside.entries()[0].id)
    assert not redis_client.exists("somewhere else")


def test_two_installations_do_not_see_each_others(aside, redis_client):
    first = SetAside(redis_client, FIRST_NAMES)
    put(first, "theirs", source=FIRST_NAMES.queue("any"))
    assert aside.entries() == []
    assert first.requeue(first.entries()[0].id)
    assert redis_client.lrange("atelier.jobs", 0, -1) == ["theirs"]

"""What was made for somebody, kept as long as there is room."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from web.shared_reads import KeptAnswers


@pytest.fixture
def kept():
    return KeptAnswers(most_bytes=100)


def test_what_was_kept_last_is_found(kept):
    assert kept.find("a") is None
    kept.keep("a", 1, 40)
    kept.keep("a", 2, 50)
    assert kept.find("a") == 2
    assert (len(kept), kept.kept_bytes) == (1, 50)
    kept.drop("a")
    kept.drop("a")
    assert kept.find("a") is None
    assert (len(kept), kept.kept_bytes) == (0, 0)


def test_what_was_asked_for_last_stays(kept):
    kept.keep("a", 1, 40)
    kept.keep("b", 2, 40)
    kept.find("a")
    kept.keep("c", 3, 40)
    assert [kept.find(key) for key in "abc"] == [1, None, 3]
    assert kept.kept_bytes == 80


def test_what_is_larger_than_all_room_is_not_kept_and_replaces_the_old_all_the_same(kept):
    kept.keep("a", 1, 40)
    kept.keep("b", 2, 10)
    kept.keep("a", 3, 101)
    assert kept.find("a") is None  # not the old one
    assert kept.find("b") == 2


def test_any_number_of_threads(kept):
    def work(number):
        for turn in range(200):
            kept.keep((number + turn) % 7, turn, 30)
            kept.find(turn % 7)
            kept.drop((number * turn) % 7)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert kept.kept_bytes == 30 * len(kept) <= 100


def test_a_key_has_one_turn(kept):
    assert kept.turn("a") is kept.turn("a")

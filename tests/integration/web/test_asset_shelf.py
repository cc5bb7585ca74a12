"""The shelf: what a failed request has put there goes, unless someone else needs it."""

from __future__ import annotations

import hashlib

import pytest

from shared.errors import ArtifactMissing, DatabaseUnavailable
from shared.storage.layout import asset_key
from shared.storage.local import LocalStore
from web.assets.uploads import AssetShelf

DATA = b"a picture"
SHA256 = hashlib.sha256(DATA).hexdigest()


class Broken(Exception):
    """What a request failed with."""


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


@pytest.fixture
def used():
    return set()


@pytest.fixture
def shelf(store, used):
    return AssetShelf(store, is_used=used.__contains__)


def is_there(store) -> bool:
    try:
        return store.read(asset_key(SHA256)) == DATA
    except ArtifactMissing:
        return False


def end_badly(visit):
    assert not visit.__exit__(Broken, Broken(), None)


def fail(shelf, *, puts=1):
    visit = shelf.visit()
    entered = visit.__enter__()
    for _ in range(puts):
        entered.put(SHA256, DATA)
    end_badly(visit)


def test_success_stays(shelf, store):
    with shelf.visit() as visit:
        visit.put(SHA256, DATA)
    assert is_there(store)
    fail(shelf)
    assert is_there(store)  # it was there before this visit


def test_failure_goes(shelf, store):
    fail(shelf)
    assert not is_there(store)
    fail(shelf, puts=2)
    assert not is_there(store)


def test_failure_keeps_what_a_row_uses(shelf, store, used):
    used.add(SHA256)
    fail(shelf)
    assert is_there(store)


def test_one_fails_while_another_goes_well(shelf, store):
    with shelf.visit() as other:
        visit = shelf.visit()
        visit.__enter__().put(SHA256, DATA)
        other.put(SHA256, DATA)
        end_badly(visit)
        assert is_there(store)
    assert is_there(store)


def test_both_fail(shelf, store):
    first, second = shelf.visit(), shelf.visit()
    first.__enter__().put(SHA256, DATA)
    second.__enter__().put(SHA256, DATA)
    end_badly(first)
    assert is_there(store)
    end_badly(second)
    assert not is_there(store)


def test_rows_that_cannot_be_asked(store):
    def is_used(_sha256: str) -> bool:
        raise DatabaseUnavailable

    fail(AssetShelf(store, is_used=is_used))
    assert not is_there(store)

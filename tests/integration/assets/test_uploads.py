"""Uploads: the files of a failed request are removed, unless another one uses them."""

from __future__ import annotations

import hashlib
import threading

import pytest

from shared.clock import utc_now
from shared.errors import ArtifactMissing
from shared.storage.layout import asset_key
from tests.support.rows import add_picture
from web.assets.uploads import Uploads
from web.backend import Backend

DATA = b"a picture"
SHA256 = hashlib.sha256(DATA).hexdigest()


class Broken(Exception):
    """What a request failed with."""


@pytest.fixture
def backend(settings):
    backend = Backend.open(settings)
    yield backend
    backend.close()


@pytest.fixture
def store(backend):
    return backend.storage


@pytest.fixture
def uploads(backend):
    return Uploads(backend, threading.Semaphore())


def is_there(store) -> bool:
    try:
        return store.read(asset_key(SHA256)) == DATA
    except ArtifactMissing:
        return False


def end_badly(batch):
    assert not batch.__exit__(Broken, Broken(), None)


def fail(uploads, *, puts=1):
    batch = uploads.batch()
    entered = batch.__enter__()
    for _ in range(puts):
        entered.put(SHA256, DATA)
    end_badly(batch)


def test_success_stays(uploads, store):
    with uploads.batch() as batch:
        batch.put(SHA256, DATA)
    assert is_there(store)
    fail(uploads)
    assert is_there(store)  # it was there before this batch


def test_failure_goes(uploads, store):
    fail(uploads)
    assert not is_there(store)
    fail(uploads, puts=2)
    assert not is_there(store)


def test_failure_keeps_what_a_row_uses(uploads, store, backend):
    with backend.database.write() as session:
        add_picture(session, sha256=SHA256, size_bytes=len(DATA), now=utc_now())
    fail(uploads)
    assert is_there(store)


def test_one_fails_while_another_goes_well(uploads, store):
    with uploads.batch() as other:
        batch = uploads.batch()
        batch.__enter__().put(SHA256, DATA)
        other.put(SHA256, DATA)
        end_badly(batch)
        assert is_there(store)
    assert is_there(store)


def test_both_fail(uploads, store):
    first, second = uploads.batch(), uploads.batch()
    first.__enter__().put(SHA256, DATA)
    second.__enter__().put(SHA256, DATA)
    end_badly(first)
    assert is_there(store)
    end_badly(second)
    assert not is_there(store)


def test_rows_that_cannot_be_asked(uploads, store, backend):
    with backend.database.write() as session:
        session.connection().exec_driver_sql("DROP TABLE assets")
    fail(uploads)
    assert not is_there(store)

"""Checkpoint files: equal states have equal bytes, and every release reads them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from shared.errors import ArtifactMissing, CheckpointInvalid
from shared.storage.local import LocalStore
from worker.checkpoint import (
    Checkpoint,
    StateFile,
    keep_checkpoint,
    pack_checkpoint,
    read_checkpoint,
    unpack_checkpoint,
)
from worker.engine.state import EngineState

#: Of the file below; see its test.
DIGEST = "d5daeaadbb3e613a428dbc64302eb621d089abcd186083ee7e7b72eccfa4d295"
KEY = "jobs/j/attempt-1/checkpoint-00007.safetensors"


def state(step: int = 7, seed: int = 1) -> EngineState:
    generator = np.random.default_rng(seed)
    shapes = {"image": (1, 5, 7, 3), "moment": (3,), "empty": (0, 2), "alone": (1,)}
    return EngineState(
        step, {name: np.asarray(generator.random(shape), np.float32) for name, shape in shapes.items()}
    )


def files_of(store: LocalStore) -> list[str]:
    return sorted(file.key for file in store.inventory("jobs"))


def test_equal_states_have_equal_bytes():
    assert len({pack_checkpoint(state(), fingerprint="f") for _ in range(20)}) == 1
    assert pack_checkpoint(state(seed=2), fingerprint="f") != pack_checkpoint(state(), fingerprint="f")
    strided = state()
    strided.arrays["image"] = np.asfortranarray(strided.arrays["image"])
    assert pack_checkpoint(strided, fingerprint="f") == pack_checkpoint(state(), fingerprint="f")


def test_the_bytes_are_these():
    """A row keeps their hash, and a node of a later release may write the same checkpoint again."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = pack_checkpoint(EngineState(3, {"b": values, "a": values[0]}), fingerprint="0" * 64)
    assert hashlib.sha256(data).hexdigest() == DIGEST
    assert int.from_bytes(data[:8], "little") % 8 == 0


def test_safetensors_reads_them():
    packed = pack_checkpoint(state(), fingerprint="f")
    arrays = load(packed)
    assert {name: array.shape for name, array in arrays.items()} == {
        name: array.shape for name, array in state().arrays.items()
    }
    again = unpack_checkpoint(packed, fingerprint="f")
    assert again.step == 7
    for name, array in state().arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_files_of_the_first_release_are_read():
    """safetensors wrote those, its metadata in any order."""
    header_bytes = int.from_bytes(pack_checkpoint(state(), fingerprint="f")[:8], "little")
    header = json.loads(pack_checkpoint(state(), fingerprint="f")[8 : 8 + header_bytes])
    old = bytes(save(state().arrays, header["__metadata__"]))
    assert unpack_checkpoint(old, fingerprint="f").step == 7


def file_of(data: bytes) -> StateFile:
    return StateFile(hashlib.sha256(data).hexdigest(), len(data))


def test_a_file_that_is_there_stays(tmp_path: Path):
    (tmp_path / "assets").mkdir()  # an empty folder is no storage
    store = LocalStore(tmp_path)
    first = keep_checkpoint(store, KEY, state(), fingerprint="f")
    # As the first release wrote it: the same state in other bytes.
    header_bytes = int.from_bytes(store.read(KEY)[:8], "little")
    metadata = json.loads(store.read(KEY)[8 : 8 + header_bytes])["__metadata__"]
    old = bytes(save(state().arrays, dict(reversed(metadata.items()))))
    store.write(KEY, old)
    assert keep_checkpoint(store, KEY, state(), fingerprint="f") == file_of(old)
    assert store.read(KEY) == old
    assert first == file_of(pack_checkpoint(state(), fingerprint="f"))
    assert files_of(store) == [KEY]


@pytest.mark.parametrize("what", ["another timeline", "another step", "damaged", "cut off"])
def test_what_is_something_else_is_set_aside(tmp_path: Path, what: str):
    (tmp_path / "assets").mkdir()  # an empty folder is no storage
    store = LocalStore(tmp_path)
    other = pack_checkpoint(state(6 if what == "another step" else 7, seed=2), fingerprint="f")
    if what == "another timeline":
        other = pack_checkpoint(state(seed=2), fingerprint="g")
    elif what == "damaged":
        other = other[:-1] + bytes([other[-1] ^ 1])
    elif what == "cut off":
        other = other[:-9]
    store.write(KEY, other)
    file = keep_checkpoint(store, KEY, state(), fingerprint="f")
    assert store.read(KEY) == pack_checkpoint(state(), fingerprint="f")
    assert file == file_of(store.read(KEY))
    key, aside = files_of(store)
    assert (key, store.read(aside)) == (KEY, other)
    assert aside.startswith(f"{KEY}.set-aside-")


def test_a_file_that_was_written_in_the_meantime_is_not_set_aside(tmp_path: Path):
    (tmp_path / "assets").mkdir()  # an empty folder is no storage
    store = LocalStore(tmp_path)
    store.write(KEY, b"a good one")
    assert not store.set_aside(KEY, sha256=hashlib.sha256(b"a bad one").hexdigest())
    assert (store.read(KEY), files_of(store)) == (b"a good one", [KEY])
    assert not store.set_aside("jobs/j/nothing", sha256="0" * 64)
    with pytest.raises(ArtifactMissing):
        store.read("jobs/j/nothing")


def test_other_fingerprints_are_refused():
    with pytest.raises(CheckpointInvalid, match="other inputs"):
        unpack_checkpoint(pack_checkpoint(state(), fingerprint="f"), fingerprint="g")


def test_a_checkpoint_says_what_it_was_computed_with():
    plain = read_checkpoint(KEY, pack_checkpoint(state(), fingerprint="f"), fingerprint="f")
    assert (plain.key, plain.numerics, plain.exact) == (KEY, None, None)
    for exact in (True, False, None):
        data = pack_checkpoint(state(), fingerprint="f", numerics="cpu", exact=exact)
        told = read_checkpoint(KEY, data, fingerprint="f")
        assert (told.numerics, told.exact, told.sha256) == ("cpu", exact, hashlib.sha256(data).hexdigest())
        assert load(data).keys() == state().arrays.keys()


@pytest.mark.parametrize(
    ("numerics", "exact", "under", "is_exact"),
    [
        ("cpu", True, "cpu", True),
        ("cpu", True, "gpu", False),
        ("cpu", False, "cpu", False),  # once begun elsewhere, for ever
        ("cpu", None, "cpu", None),
        ("cpu", None, "gpu", False),
        (None, None, "gpu", None),  # of an older release
        (None, False, None, False),
        ("cpu", True, None, None),
    ],
)
def test_whether_going_on_is_exact(numerics, exact, under, is_exact):
    assert Checkpoint(KEY, state(), StateFile("", 0), numerics, exact).exact_under(under) is is_exact

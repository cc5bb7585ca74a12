"""Editing the packaged graphs by their bytes."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import FastModelUnavailable
from shared.settings import Settings
from worker.engine.fast.graph import free_size, without_rounding
from worker.engine.fast.source import PREDICTOR, TRANSFORMER, find_fast_model

#: What the package onnx 1.23.2 writes when value_info is deleted and the dimensions are named, byte by byte.
FREED_SHA256 = "b31ad3a5f1675185a90dca478c153fb5054d5641265a143584c39a67c6538630"


@pytest.fixture(scope="module")
def transformer() -> bytes:
    return (find_fast_model(Settings()).folder / TRANSFORMER).read_bytes()


def test_the_graph_is_freed_as_the_package_onnx_would(transformer):
    assert hashlib.sha256(free_size(transformer)).hexdigest() == FREED_SHA256
    assert free_size(free_size(transformer)) == free_size(transformer)


@pytest.mark.parametrize("name", [PREDICTOR, TRANSFORMER])
def test_without_rounding_nothing_is_made_8_bits_any_more_and_all_else_stays(name):
    model = (find_fast_model(Settings()).folder / name).read_bytes()
    floats = without_rounding(model)
    # In a graph each kind stands once for each operation, after the number of its field and its length.
    counts = {
        kind: [graph.count(bytes([4 << 3 | 2, len(kind)]) + kind) for graph in (model, floats)]
        for kind in (b"QuantizeLinear", b"Conv", b"Clip", b"Relu", b"Add", b"Mul", b"Pad", b"Resize", b"Sqrt")
    }
    assert counts.pop(b"QuantizeLinear")[1] == 0
    assert all(before == after for before, after in counts.values())
    assert counts[b"Conv"][0] > 40
    assert without_rounding(floats) == floats


def test_a_file_that_is_cut_off_is_refused(transformer):
    with pytest.raises(FastModelUnavailable, match="no ONNX file that can be read: it is cut off"):
        free_size(transformer[:-1])


@given(st.binary(max_size=200))
@example(b"\x80")
@example(b"\x0b")
def test_whatever_the_bytes_are_they_are_read_or_refused(data):
    for edit in (free_size, without_rounding):
        with contextlib.suppress(FastModelUnavailable):
            assert isinstance(edit(data), bytes)


def test_what_is_no_picture_keeps_its_shape():
    def field(number: int, body: bytes) -> bytes:
        return bytes([number << 3 | 2, len(body)]) + body

    def model(*dims: int) -> bytes:
        shape = b"".join(field(1, bytes([1 << 3, dim])) for dim in dims)
        tensor = bytes([1 << 3, 1]) + field(2, shape)
        return field(7, field(11, field(1, b"name") + field(2, field(1, tensor))) + field(1, b"node"))

    for dims in ((1, 1, 1, 100), (1, 100), (100,), ()):
        assert free_size(model(*dims)) == model(*dims)
    freed = free_size(model(1, 96, 64, 3))
    assert b"height" in freed
    assert b"width" in freed
    assert b"node" in freed

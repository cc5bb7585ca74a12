"""Freeing the size of an ONNX graph."""

from __future__ import annotations

import contextlib

import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import FastModelUnavailable
from shared.settings import Settings
from worker.engine.fast.free_size import free_size
from worker.engine.fast.source import TRANSFORMER, find_fast_model


@pytest.fixture(scope="module")
def transformer() -> bytes:
    return (find_fast_model(Settings()).folder / TRANSFORMER).read_bytes()


def test_the_graph_takes_any_size_and_keeps_all_else(transformer):
    freed = free_size(transformer)
    assert free_size(freed) == freed
    session = onnxruntime.InferenceSession(freed, providers=["CPUExecutionProvider"])
    shapes = {tuple(value.shape) for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {(1, "height", "width", 3), (1, 1, 1, 100)}
    # What is gone is the list of sizes in between, which this file does not have, and four small numbers.
    assert abs(len(freed) - len(transformer)) < 100


def test_a_file_that_is_cut_off_is_refused(transformer):
    with pytest.raises(FastModelUnavailable, match="no ONNX file that can be read"):
        free_size(transformer[:-1])


@given(st.binary(max_size=200))
@example(b"\x80")
@example(b"\x0b")
def test_whatever_the_bytes_are_they_are_read_or_refused(data):
    with contextlib.suppress(FastModelUnavailable):
        assert isinstance(free_size(data), bytes)


def test_what_is_no_picture_keeps_its_shape():
    def field(number: int, body: bytes) -> bytes:
        return bytes([number << 3 | 2, len(body)]) + body

    def model(*dims: int) -> bytes:
        shape = b"".join(field(1, bytes([1 << 3, dim])) for dim in dims)
        tensor = bytes([1 << 3, 1]) + field(2, shape)
        return field(7, field(11, field(1, b"name") + field(2, field(1, tensor))) + field(1, b"node"))

    for dims in ((1, 1, 1, 100), (1, 100), (100,), ()):
        assert sorted(free_size(model(*dims))) == sorted(model(*dims))  # in whatever order
    freed = free_size(model(1, 96, 64, 3))
    assert b"height" in freed
    assert b"width" in freed
    assert b"node" in freed

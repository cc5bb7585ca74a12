"""Editing the packaged graphs: any size, and floats from layer to layer."""

from __future__ import annotations

import contextlib

import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import FastModelUnavailable
from shared.settings import Settings
from worker.engine.fast.graph import free_size, without_rounding
from worker.engine.fast.source import PREDICTOR, TRANSFORMER, find_fast_model


@pytest.fixture(scope="module")
def transformer() -> bytes:
    return (find_fast_model(Settings()).folder / TRANSFORMER).read_bytes()


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2, len(body)]) + body


def _node(kind: bytes, inputs: list[bytes], output: bytes) -> bytes:
    parts = [*(_field(1, name) for name in inputs), _field(2, output), _field(4, kind)]
    return _field(1, b"".join(parts))


def test_the_graph_takes_any_size_and_keeps_all_else(transformer):
    freed = free_size(transformer)
    assert free_size(freed) == freed
    session = onnxruntime.InferenceSession(freed, providers=["CPUExecutionProvider"])
    shapes = {tuple(value.shape) for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {(1, "height", "width", 3), (1, 1, 1, 100)}
    # What is gone is the list of sizes in between, which this file does not have, and four small numbers.
    assert abs(len(freed) - len(transformer)) < 100


@pytest.mark.parametrize("name", [PREDICTOR, TRANSFORMER])
def test_without_rounding_nothing_is_made_8_bits_any_more_and_all_else_stays(name):
    model = (find_fast_model(Settings()).folder / name).read_bytes()
    floats = without_rounding(model)
    # In a graph each kind stands once for each operation, after the number of its field and its length.
    counts = {
        kind: [graph.count(_field(4, kind)) for graph in (model, floats)]
        for kind in (b"QuantizeLinear", b"Conv", b"Clip", b"Relu", b"Add", b"Mul", b"Pad", b"Resize", b"Sqrt")
    }
    assert counts.pop(b"QuantizeLinear")[1] == 0
    assert all(before == after for before, after in counts.values())
    assert counts[b"Conv"][0] > 40
    assert without_rounding(floats) == floats


def test_floats_go_round_what_rounds_through_what_moves_and_to_the_result():
    quantised = [
        _node(b"QuantizeLinear", [b"a", b"scale", b"zero"], b"a8"),
        _node(b"Transpose", [b"a8"], b"b8"),
        _node(b"DequantizeLinear", [b"b8", b"scale", b"zero"], b"b"),
        _node(b"DequantizeLinear", [b"weights8", b"scale", b"zero"], b"weights"),
        _node(b"Conv", [b"b", b"weights"], b"c"),
        _node(b"QuantizeLinear", [b"c", b"scale", b"zero"], b"c8"),
        _node(b"DequantizeLinear", [b"c8", b"scale", b"zero"], b"result"),
    ]
    floats = [
        _node(b"Transpose", [b"a"], b"b8"),
        _node(b"DequantizeLinear", [b"weights8", b"scale", b"zero"], b"weights"),
        _node(b"Conv", [b"b8", b"weights"], b"c"),
        _node(b"Identity", [b"c"], b"result"),
    ]
    result = _field(12, _field(1, b"result"))

    def model(nodes: list[bytes]) -> bytes:
        graph = b"".join(nodes) + result
        return bytes([7 << 3 | 2, len(graph) & 0x7F | 0x80, len(graph) >> 7]) + graph

    assert without_rounding(model(quantised)) == model(floats)


def test_a_file_that_is_cut_off_is_refused(transformer):
    for edit in (free_size, without_rounding):
        with pytest.raises(FastModelUnavailable, match="no ONNX file that can be read"):
            edit(transformer[:-1])


@given(st.binary(max_size=200))
@example(b"\x80")
@example(b"\x0b")
def test_whatever_the_bytes_are_they_are_read_or_refused(data):
    for edit in (free_size, without_rounding):
        with contextlib.suppress(FastModelUnavailable):
            assert isinstance(edit(data), bytes)


def test_what_is_no_picture_keeps_its_shape():
    def model(*dims: int) -> bytes:
        shape = b"".join(_field(1, bytes([1 << 3, dim])) for dim in dims)
        tensor = bytes([1 << 3, 1]) + _field(2, shape)
        return _field(7, _field(11, _field(1, b"name") + _field(2, _field(1, tensor))) + _field(5, b"tensor"))

    for dims in ((1, 1, 1, 100), (1, 100), (100,), ()):
        assert sorted(free_size(model(*dims))) == sorted(model(*dims))  # in whatever order
    freed = free_size(model(1, 96, 64, 3))
    assert b"height" in freed
    assert b"width" in freed
    assert b"tensor" in freed

"""Editing the packaged ONNX graphs: any height and width, and no rounding to 8 bits between the layers.

An ONNX file is a protobuf message, of which a few fields have to be edited; that is done on the bytes, in
milliseconds, without the 31 MB of the package `onnx` and the memory that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.errors import FastModelUnavailable

# Numbers of fields, as onnx.proto has them.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 1, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND = 1, 2, 4
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_SHAPE = 2
_SHAPE_DIM = 1
_DIM_VALUE, _DIM_PARAM = 1, 2

# How a field is written; the other kinds are not used by ONNX, or are long out of use.
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}

#: Operations that move numbers and change none, so that they take floats as well.
_MOVING = frozenset({b"Transpose", b"Reshape", b"Resize", b"Pad"})

#: What to do with a field of bytes: return them, others in their place, or None to leave the field out.
_Edit = Callable[[bytes], bytes | None]


def free_size(model: bytes) -> bytes:
    """Return an ONNX model that takes pictures of any height and width.

    The runtime refuses any other size than the declared one, although every operation takes any. Dimensions 1
    and 2 of every picture that goes in or comes out, [1, H, W, C] with H and W above 1, get a name in the
    place of their number; what the file notes of the sizes in between is left out.

    Raises:
        FastModelUnavailable: when the bytes are no ONNX model.
    """
    sizes: dict[int, _Edit] = {
        _GRAPH_INPUT: _free_value,
        _GRAPH_OUTPUT: _free_value,
        _GRAPH_VALUE_INFO: lambda _: None,
    }
    return _with_graph(model, lambda graph: _edited(graph, sizes))


def without_rounding(model: bytes) -> bytes:
    """Return a quantised ONNX model that keeps floats from layer to layer; its weights stay those of 8 bits.

    Where the graph rounds to 8 bits and back, the floats go on as they are: the picture then has none of the
    noise that the rounding leaves in even areas.

    Raises:
        FastModelUnavailable: when the bytes are no ONNX model.
    """
    return _with_graph(model, _unrounded)


def _with_graph(model: bytes, edit: _Edit) -> bytes:
    try:
        return _edited(model, {_MODEL_GRAPH: edit})
    except (IndexError, ValueError) as error:
        raise FastModelUnavailable(f"the model is no ONNX file that can be read: {error}") from error


@dataclass(frozen=True)
class _Node:
    """One operation: its kind, what it takes and gives, and all its bytes."""

    kind: bytes
    inputs: list[bytes]
    outputs: list[bytes]
    body: bytes

    @classmethod
    def read(cls, body: bytes) -> _Node:
        fields = [(number, value) for number, _, value in _fields(body) if isinstance(value, bytes)]
        named = {
            wanted: [value for number, value in fields if number == wanted]
            for wanted in (_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND)
        }
        return cls((named[_NODE_KIND] or [b""])[0], named[_NODE_INPUT], named[_NODE_OUTPUT], body)

    def taking(self, names: dict[bytes, bytes]) -> bytes:
        """Return the node's bytes with other names for what it takes."""
        return _edited(self.body, {_NODE_INPUT: lambda name: names.get(name, name)})


def _unrounded(graph: bytes) -> bytes:
    bodies = [body for number, _, body in _fields(graph) if number == _GRAPH_NODE and isinstance(body, bytes)]
    results = {
        name
        for number, _, value in _fields(graph)
        if number == _GRAPH_OUTPUT and isinstance(value, bytes)
        for part, _, name in _fields(value)
        if part == _VALUE_NAME and isinstance(name, bytes)
    }
    floats: dict[bytes, bytes] = {}  # of each tensor of 8 bits, and each that was made of one: the floats
    written = {}
    for node in map(_Node.read, bodies):
        source = node.inputs[0] if node.inputs else b""
        if node.kind == b"QuantizeLinear":
            floats[node.outputs[0]] = floats.get(source, source)
        elif node.kind == b"DequantizeLinear" and source in floats:
            floats[node.outputs[0]] = floats[source]
            if node.outputs[0] in results:
                written[node.body] = _identity(floats[source], node.outputs[0])
        else:
            if node.kind in _MOVING and source in floats:
                floats[node.outputs[0]] = node.outputs[0]
            written[node.body] = node.taking(floats)
    return _edited(graph, {_GRAPH_NODE: written.get, _GRAPH_VALUE_INFO: lambda _: None})


def _identity(source: bytes, result: bytes) -> bytes:
    return _field(_NODE_INPUT, source) + _field(_NODE_OUTPUT, result) + _field(_NODE_KIND, b"Identity")


def _free_value(value: bytes) -> bytes:
    return _edited(value, {_VALUE_TYPE: lambda kind: _edited(kind, {_TYPE_TENSOR: _free_tensor})})


def _free_tensor(tensor: bytes) -> bytes:
    return _edited(tensor, {_TENSOR_SHAPE: _free_shape})


def _free_shape(shape: bytes) -> bytes:
    dims = [body for number, _, body in _fields(shape) if number == _SHAPE_DIM and isinstance(body, bytes)]
    if len(dims) != 4 or not all(_length(dim) > 1 for dim in dims[1:3]):
        return shape
    dims[1:3] = [_field(_DIM_PARAM, b"height"), _field(_DIM_PARAM, b"width")]
    return b"".join(_field(_SHAPE_DIM, dim) for dim in dims)


def _length(dim: bytes) -> int:
    for number, _, body in _fields(dim):
        if number == _DIM_VALUE and isinstance(body, int):
            return body
    return 0


def _edited(message: bytes, edits: dict[int, _Edit]) -> bytes:
    """Return a message with its fields of these numbers edited; all others stay as they are, byte by byte."""
    parts = []
    for number, whole, body in _fields(message):
        if number not in edits or not isinstance(body, bytes):
            parts.append(whole)
        elif (edited := edits[number](body)) is not None:
            parts.append(_field(number, edited))
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes | int]]:
    """Yield each field: its number, all its bytes, and what is in it, a number if it is written as one."""
    place = 0
    while place < len(message):
        begin = place
        key, place = _read_varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _read_varint(message, place)
            yield key >> 3, message[begin:place], value
            continue
        if kind == _BYTES:
            length, place = _read_varint(message, place)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError(f"at byte {begin} is a field of an unknown kind")
        body, place = message[place : place + length], place + length
        if place > len(message):
            raise ValueError("it is cut off")
        yield key >> 3, message[begin:place], body


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(body)) + body


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)

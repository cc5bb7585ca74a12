"""Freeing the height and width of an ONNX graph, whose file declares one fixed size.

The runtime refuses any other size than the declared one, although every operation of the graph takes any. An
ONNX file is a protobuf message, and three of its fields have to be edited; that is done on the bytes, in a
few milliseconds, without the 31 MB of the package `onnx` and the memory that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shared.errors import FastModelUnavailable

# Numbers of fields, as onnx.proto has them.
_MODEL_GRAPH = 7
_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 11, 12, 13
_VALUE_TYPE = 2
_TYPE_TENSOR = 1
_TENSOR_SHAPE = 2
_SHAPE_DIM = 1
_DIM_VALUE, _DIM_PARAM = 1, 2

# How a field is written; the other kinds are not used by ONNX, or are long out of use.
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}

#: What to do with a field of bytes: return them, others in their place, or None to leave the field out.
_Edit = Callable[[bytes], bytes | None]


def free_size(model: bytes) -> bytes:
    """Return an ONNX model that takes pictures of any height and width.

    Dimensions 1 and 2 of every picture that goes in or comes out, [1, H, W, C] with H and W above 1, get a
    name in the place of their number; what the file notes of the sizes in between is left out.

    Raises:
        FastModelUnavailable: when the bytes are no ONNX model.
    """
    try:
        return _edited(model, {_MODEL_GRAPH: _free_graph})
    except (IndexError, ValueError) as error:
        raise FastModelUnavailable(f"the model is no ONNX file that can be read: {error}") from error


def _free_graph(graph: bytes) -> bytes:
    return _edited(
        graph, {_GRAPH_INPUT: _free_value, _GRAPH_OUTPUT: _free_value, _GRAPH_VALUE_INFO: lambda _: None}
    )


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
    return next(
        (body for number, _, body in _fields(dim) if number == _DIM_VALUE and isinstance(body, int)), 0
    )


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
        kind, body = key & 7, b""
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

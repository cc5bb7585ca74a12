"""Editing the packaged ONNX graphs: any height and width, and no rounding to 8 bits between the layers.

An ONNX file is a protobuf message. Only the few fields that have to be edited are described here; protobuf
keeps all others as they are, so the package `onnx`, 31 MB and as much memory again, is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from shared.errors import FastModelUnavailable

_PACKAGE = "atelier.onnx"
_ONE, _MANY = (
    descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
)
#: By message: the fields with name, number (as onnx.proto has them), how many, and type.
_FIELDS: Mapping[str, tuple[tuple[str, int, Any, str], ...]] = MappingProxyType(
    {
        "Model": (("graph", 7, _ONE, "Graph"),),
        "Graph": (
            ("node", 1, _MANY, "Node"),
            ("input", 11, _MANY, "Value"),
            ("output", 12, _MANY, "Value"),
            ("value_info", 13, _MANY, "Value"),
        ),
        "Node": (
            ("input", 1, _MANY, "string"),
            ("output", 2, _MANY, "string"),
            ("op_type", 4, _ONE, "string"),
        ),
        "Value": (("name", 1, _ONE, "string"), ("type", 2, _ONE, "Type")),
        "Type": (("tensor_type", 1, _ONE, "Tensor"),),
        "Tensor": (("shape", 2, _ONE, "Shape"),),
        "Shape": (("dim", 1, _MANY, "Dim"),),
        "Dim": (("dim_value", 1, _ONE, "int64"), ("dim_param", 2, _ONE, "string")),
    }
)
#: Operations that move numbers and change none, so that they take floats as well.
_MOVING = frozenset({"Transpose", "Reshape", "Resize", "Pad"})


def free_size(model: bytes) -> bytes:
    """Return an ONNX model that takes pictures of any height and width.

    The runtime refuses any other size than the declared one, although every operation takes any. Dimensions 1
    and 2 of every picture that goes in or comes out, [1, H, W, C] with H and W above 1, get a name in the
    place of their number; what the file notes of the sizes in between is left out.

    Raises:
        FastModelUnavailable: when the bytes are no ONNX model.
    """
    found = _read(model)
    del found.graph.value_info[:]
    for value in (*found.graph.input, *found.graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and all(dim.dim_value > 1 for dim in dims[1:3]):
            for dim, name in zip(dims[1:3], ("height", "width"), strict=True):
                dim.ClearField("dim_value")
                dim.dim_param = name
    return _written(found)


def without_rounding(model: bytes) -> bytes:
    """Return a quantised ONNX model that keeps floats from layer to layer; its weights stay those of 8 bits.

    Where the graph rounds to 8 bits and back, the floats go on as they are: the picture then has none of the
    noise that the rounding leaves in even areas.

    Raises:
        FastModelUnavailable: when the bytes are no ONNX model.
    """
    found = _read(model)
    results = {value.name for value in found.graph.output}
    floats: dict[str, str] = {}  # of each tensor of 8 bits, and each that was made of one: the floats
    kept = []
    for node in found.graph.node:
        source = node.input[0] if node.input else ""
        if node.op_type == "QuantizeLinear":
            floats[node.output[0]] = floats.get(source, source)
        elif node.op_type == "DequantizeLinear" and source in floats:
            floats[node.output[0]] = floats[source]
            if node.output[0] in results:
                kept.append(type(node)(input=[floats[source]], output=node.output, op_type="Identity"))
        else:
            if node.op_type in _MOVING and source in floats:
                floats[node.output[0]] = node.output[0]
            node.input[:] = [floats.get(name, name) for name in node.input]
            kept.append(node)
    del found.graph.value_info[:]
    del found.graph.node[:]
    found.graph.node.extend(kept)
    return _written(found)


def _read(model: bytes) -> Any:  # noqa: ANN401 - a class that protobuf makes
    found: Any = _model_class()()
    try:
        found.ParseFromString(model)
    except DecodeError as error:
        raise FastModelUnavailable(f"the model is no ONNX file that can be read: {error}") from error
    if not found.HasField("graph"):
        raise FastModelUnavailable("the model is no ONNX file that can be read: it has no graph")
    return found


def _written(model: Any) -> bytes:  # noqa: ANN401
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@cache
def _model_class() -> type[Message]:
    """Return the class of the described part of an ONNX model."""
    file = descriptor_pb2.FileDescriptorProto(name="atelier_onnx.proto", package=_PACKAGE, syntax="proto2")
    kinds = {
        "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
        "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    }
    for message_name, fields in _FIELDS.items():
        described = file.message_type.add(name=message_name)
        for name, number, label, kind in fields:
            field = described.field.add(name=name, number=number, label=label)
            if kind in kinds:
                field.type = kinds[kind]
            else:
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Model"))
    return made

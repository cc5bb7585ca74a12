"""Texts read as values: what a form, a query, a part or a command line says of the fields of a model; names.

A model is strict, as JSON is: it takes the number 20 and refuses the text "20". `read_texts` is the one place
where such a text becomes a number; whether the number is allowed stays the model's to say.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

#: A text of digits is a whole number and any other a fraction, whatever the field wants: the model then says
#: that 1.5 is not whole, and does not merely call it a text.
_WHOLE = Annotated[str, Field(pattern=r"^\s*[+-]?[0-9]+\s*$"), AfterValidator(int)]
_NUMBER = Annotated[_WHOLE | float, Field(union_mode="left_to_right")]
#: Only JSON's words: pydantic alone takes "yes", "on" and "1" too, and no word for null.
_STRIPPED = BeforeValidator(lambda text: text.strip())
_TRUE_OR_FALSE = Annotated[Literal["true", "false"], _STRIPPED, AfterValidator(lambda word: word == "true")]
_NULL = Annotated[Literal["null"], _STRIPPED, AfterValidator(lambda _: None)]
#: They turn what follows around, and let a name look like another one.
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: What pydantic says of a value, in plain words; a validator of ours says its own after "Value error".
_REASONS = {
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number that is not infinite",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "string_too_long": "has {size} characters; at most {max_length} are allowed",
    "too_long": "has {size} entries; at most {max_length} are allowed",
    "literal_error": "must be {expected}",
}
_WRITTEN: Mapping[Any, Any] = {int: _NUMBER, float: _NUMBER, bool: _TRUE_OR_FALSE, NoneType: _NULL}


def _as_whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: A whole number, also written with a point: 12.0 is an integer as JSON schema has it.
Whole = Annotated[int, BeforeValidator(_as_whole)]


def read_texts(model: type[BaseModel], texts: Mapping[str, str]) -> dict[str, object]:
    """Return texts, by the names of a model's fields, as the values that the model takes.

    What cannot be read, or is of no field, stays a text: the model refuses it by its name.
    """
    readers = _readers(model)
    return {name: _read(readers.get(name), text) for name, text in texts.items()}


def reason_of(item: Mapping[str, Any]) -> str:
    """Return what is wrong with a field, in plain words that go on from its name; `item` is pydantic's."""
    reason = _REASONS.get(item["type"])
    if reason is None:
        return str(item["msg"]).removeprefix("Value error, ")
    given = item["input"]
    size = len(given) if isinstance(given, str | list | dict) else 0
    limits = {
        name: int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        for name, limit in item.get("ctx", {}).items()
    }
    return reason.format(size=size, **limits)


def is_printable(text: str) -> bool:
    """Whether a text can be a name: it has no control character, no surrogate and no bidi override.

    Joiners, marks and tags are parts of letters and emoji, and what is unassigned here is an emoji elsewhere.
    """
    return not any(letter in _TURNS or unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


@cache
def field_schemas(model: type[BaseModel]) -> Mapping[str, Mapping[str, Any]]:
    """Return the JSON schema of each field, by the name it is sent under; not to be changed.

    References are followed, and of a field that may be null as well there is what it is otherwise.
    """
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return {name: _resolved(entry, definitions) for name, entry in schema.get("properties", {}).items()}


@cache
def _readers(model: type[BaseModel]) -> Mapping[str, TypeAdapter[object]]:
    return {
        field.alias or name: TypeAdapter(_as_written(field.annotation))
        for name, field in model.model_fields.items()
    }


def _read(reader: TypeAdapter[object] | None, text: str) -> object:
    try:
        return text if reader is None else reader.validate_strings(text)
    except ValidationError:
        return text


def _as_written(kind: Any) -> Any:  # noqa: ANN401 - any type
    """Return a type as it is written in texts, without limits."""
    if get_origin(kind) is Annotated:
        return _as_written(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        # From left to right: "null" is a text for a field that may be a text.
        kinds = tuple(map(_as_written, get_args(kind)))
        return Annotated[Union[kinds], Field(union_mode="left_to_right")]  # noqa: UP007 - as many as there are
    return _WRITTEN.get(kind, kind)


def _resolved(entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in entry:
        entry = {**definitions[entry["$ref"].rsplit("/", 1)[-1]], **entry}
    kinds = [kind for kind in entry.get("anyOf", ()) if kind.get("type") != "null"]
    return {**_resolved(kinds[0], definitions), **entry} if len(kinds) == 1 else entry

"""The style options: their definition, their presets, and how they are read and refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from shared.errors import Fault, InvalidOptions
from shared.texts import Whole, field_schemas, read_texts

PresetName = Literal["classic", "quick", "gentle", "bold", "fine"]


class Method(StrEnum):
    """How a picture is made."""

    #: The optimisation of Gatys et al. 2015: a hundred steps or more, with checkpoints.
    GATYS = "gatys"
    #: The trained network of Ghiasi et al. 2017: one pass, about a second.
    FAST = "fast"


@dataclass(frozen=True)
class Preset:
    """What a preset is called, what it is for, and the options in which it differs from `classic`."""

    title: str
    line: str
    values: Mapping[str, Any] = field(default_factory=dict)


PRESETS: Mapping[PresetName, Preset] = {
    "classic": Preset("Classic", "As Gatys et al. 2015 have it: the style is clear, the scene too."),
    "quick": Preset(
        "Quick", "A quick look before the long run: small, few steps.", {"steps": 40, "size": 256}
    ),
    "gentle": Preset("Gentle", "The scene comes first, the style is a hint.", {"style_weight": 1e-4}),
    "bold": Preset(
        "Bold",
        "The style takes over; the scene shines through.",
        {"style_weight": 1.0, "learning_rate": 0.04},
    ),
    "fine": Preset("Fine", "Large and patient, for a print.", {"steps": 200, "size": 1024}),
}


#: The options of the first release. Hashes, messages and pictures have always told them, so they go on.
FIRST_OPTIONS = frozenset(
    {"preset", "steps", "size", "content_weight", "style_weight", "learning_rate", "checkpoint_every"}
)
#: What the preset 'quick' was called before there were drafts; it is still taken.
_OLD_QUICK = "draft"
#: What no release ever accepted is no count: an engine would do nothing with it, or never end.
_COUNTED = Annotated[int, Field(ge=1, le=1_000_000)]
_COUNTS = frozenset({"steps", "size", "checkpoint_every"})
#: Of a later option the value that means what was done before it existed, where its default does not.
_HISTORICAL_DEFAULTS: Mapping[str, Any] = MappingProxyType({})


class StyleOptions(BaseModel):
    """How a job is carried out. A preset fills the defaults; what is given explicitly wins."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    method: Literal["gatys", "fast"] = Field(
        "gatys",
        title="Method",
        description="'gatys' optimises the picture step by step; 'fast' is one pass of a trained network.",
    )
    preset: PresetName = Field(
        "classic", title="Preset", description="Named set of defaults; 'classic' is Gatys et al. 2015."
    )
    steps: Whole = Field(100, ge=1, le=2000, title="Steps", description="Optimisation steps.")
    size: Whole = Field(
        512,
        ge=32,
        le=4096,
        title="Size",
        description="Long side of the result in pixels; a smaller picture is never enlarged.",
        json_schema_extra={"x-unit": "px"},
    )
    content_weight: float = Field(
        1e4, ge=0, le=1e9, title="Content weight", description="How strongly the content is held."
    )
    style_weight: float = Field(
        1e-2, ge=0, le=1e6, title="Style weight", description="How strongly the style is asked for."
    )
    learning_rate: float = Field(
        0.02, ge=1e-4, le=1, title="Learning rate", description="Step size of Adam on pixels in [0, 1]."
    )
    checkpoint_every: Whole = Field(
        10,
        ge=1,
        le=1000,
        title="Checkpoint every",
        description="Steps between checkpoints.",
        json_schema_extra={"x-unit": "steps", "x-advanced": True},
    )
    init: Literal["content", "fast"] = Field(
        "content",
        title="Start from",
        description="What 'gatys' starts from: the content, or what 'fast' makes of both pictures.",
        json_schema_extra={"x-advanced": True},
    )
    style_strength: float = Field(
        1.0,
        ge=0,
        le=1,
        title="Style strength",
        description="How far 'fast' goes from the content's own style, 0, to that of the style picture, 1.",
    )
    detail: Whole = Field(
        1024,
        ge=32,
        le=4096,
        title="Detail",
        description="Long side in pixels at which 'fast' sees the content, at most that of the result; less "
        "makes larger strokes.",
        json_schema_extra={"x-unit": "px", "x-advanced": True},
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:  # noqa: ANN401 - whatever was sent
        if not isinstance(values, Mapping):
            return values
        if values.get("method") == Method.FAST:
            return {**values, "steps": 1}
        if values.get("preset") == _OLD_QUICK:
            values = {**values, "preset": "quick"}
        name = values.get("preset")
        preset = PRESETS.get(name) if isinstance(name, str) else None  # type: ignore[call-overload]
        return {**preset.values, **values} if preset else values

    @model_validator(mode="after")
    def _asks_for_something(self) -> StyleOptions:
        if self.content_weight == 0 and self.style_weight == 0:
            raise ValueError("content weight and style weight are both 0; one must be more than 0")
        return self

    @property
    def known_names(self) -> frozenset[str]:
        """The names of the options that the method knows: they are stored and shown, and no others."""
        return known_options(self.method, self.init, names=type(self).model_fields)

    @property
    def methods(self) -> frozenset[Method]:
        """The methods that a node has to serve to carry this out."""
        begun_with = {Method.FAST} if self.init == "fast" else set()
        return frozenset({Method(self.method), *begun_with})

    def shown(self) -> dict[str, Any]:
        """Return the options that the method knows, as they are stored and shown: JSON values by name."""
        return {name: value for name, value in self.model_dump().items() if name in self.known_names}

    @property
    def told_names(self) -> frozenset[str]:
        """The names of the options that hashes, messages and pictures tell: those that say something.

        An option younger than the first release is told only where it has not its historical default. A new
        option then changes no checkpoint's fingerprint, no work and no picture of a job that does without it,
        and older workers can read the message.
        """
        fields = type(self).model_fields
        defaults = {name: _HISTORICAL_DEFAULTS.get(name, fields[name].default) for name in fields}
        return frozenset(
            name
            for name, default in defaults.items()
            if name in self.known_names and (name in FIRST_OPTIONS or getattr(self, name) != default)
        )


#: The options of the fast method alone, which 'gatys' knows where it starts from what that makes.
_FAST_ONLY = frozenset({"style_strength", "detail"})


def known_options(
    method: str, init: str = "content", *, names: Iterable[str] | None = None
) -> frozenset[str]:
    """Return the names of the options that a method knows, of all that there are.

    `init` is what 'gatys' starts from.
    """
    every = frozenset(StyleOptions.model_fields if names is None else names)
    if method == Method.FAST:
        return every & (_FAST_ONLY | {"method", "size"})
    return every if init == "fast" else every - _FAST_ONLY


def steps_of(options: Mapping[str, Any]) -> int:
    """Return how many steps stored options ask for; the fast method makes one."""
    return 1 if options.get("method") == Method.FAST else int(options["steps"])


def parse_options(values: object) -> StyleOptions:
    """Return the resolved options for a JSON object of them.

    Raises:
        InvalidOptions: naming every option that is unknown, also to the method alone, of the wrong type, or
            out of range.
    """
    if not isinstance(values, Mapping):
        fault = Fault("/options", "wrong_type", f"options must be an object, not {_json_type(values)}")
        raise InvalidOptions(fault.detail, faults=(fault,))
    faults = _faults_of_method(values)
    judged = {
        name: value for name, value in values.items() if f"/options/{name}" not in {f.pointer for f in faults}
    }
    try:
        options = StyleOptions.model_validate(judged)
    except ValidationError as error:
        faults += [_fault(dict(item)) for item in error.errors()]
    if faults:
        raise InvalidOptions("; ".join(fault.detail for fault in faults), faults=tuple(faults))
    return options


def read_stored_options(values: object) -> StyleOptions:
    """Return options that were accepted earlier, perhaps by another version, and then stored or sent.

    Unknown ones are left out, and a missing one has its historical default. Ranges and presets are not judged
    again: what was accepted stays readable.

    Raises:
        InvalidOptions: when a value is of the wrong type, or a count below 1 or beyond all measure.
    """
    try:
        stored = _stored_model().model_validate(values)
    except ValidationError as error:
        raise InvalidOptions(f"stored options cannot be read: {error}") from None
    values = stored.model_dump()
    return StyleOptions.model_construct(**values | {"steps": steps_of(values)})


def change_options(stored: Mapping[str, Any], changes: Mapping[str, Any]) -> StyleOptions:
    """Return stored options with some of them changed; only the changed ones are judged.

    Raises:
        InvalidOptions: naming every changed option that is unknown, of the wrong type, or out of range.
    """
    values = read_stored_options(stored).shown() | dict(changes)
    try:
        return parse_options(values)
    except InvalidOptions as error:
        faults = tuple(fault for fault in error.faults if _is_about(fault, changes))
        if faults:
            raise InvalidOptions("; ".join(fault.detail for fault in faults), faults=faults) from None
    return read_stored_options(values)


def parse_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """Return the options in ``name=value`` words, as a command line has them.

    Raises:
        InvalidOptions: for a word without ``=``, and a name with two values. Names and values are judged by
            `parse_options`.
    """
    texts: dict[str, str] = {}
    for word in assignments:
        name, separator, text = word.partition("=")
        if not separator or not name:
            fault = Fault("/options", "invalid_assignment", f"'{word}' is not of the form name=value")
            raise InvalidOptions(fault.detail, faults=(fault,))
        if texts.setdefault(name, text) != text:
            detail = f"{name} is given twice, as {texts[name]} and as {text}"
            raise InvalidOptions(detail, faults=(Fault(f"/options/{name}", "invalid_assignment", detail),))
    return read_texts(StyleOptions, texts)


def option_help() -> str:
    """Return one line an option: name, default, range, description. For command-line help."""
    lines = []
    for name, schema in field_schemas(StyleOptions).items():
        allowed = (
            f"{schema['minimum']:g}–{schema['maximum']:g}"
            if "minimum" in schema
            else ", ".join(schema["enum"])
        )
        lines.append(f"{name}={schema['default']} ({allowed}) {schema['description']}")
    return "\n".join(lines)


@cache
def _stored_model() -> type[BaseModel]:
    """Return the model of stored options: the same types, without choices and nearly without ranges."""
    fields: dict[str, Any] = {
        name: (
            _COUNTED
            if name in _COUNTS
            else str
            if get_origin(field.annotation) is Literal
            else field.annotation,
            _HISTORICAL_DEFAULTS.get(name, field.default),
        )
        for name, field in StyleOptions.model_fields.items()
    }
    config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
    return create_model("StoredOptions", __config__=config, **fields)


def _faults_of_method(values: Mapping[str, Any]) -> list[Fault]:
    """Return a fault for each option that is given and that another method than the one given knows."""
    method, init = values.get("method", Method.GATYS), values.get("init", "content")
    if method not in list(Method):
        return []  # which is said of it
    known = known_options(method, str(init))
    names = [name for name in values if name in StyleOptions.model_fields and name not in known]
    whose = (
        "the method 'gatys' that starts from the content"
        if method == Method.GATYS
        else f"the method '{method}'"
    )
    knows = ", ".join(name for name in StyleOptions.model_fields if name in known and name != "method")
    return [
        Fault(f"/options/{name}", "unknown_option", f"{name} is no option of {whose}, which knows {knows}")
        for name in names
    ]


def _is_about(fault: Fault, changes: Mapping[str, Any]) -> bool:
    """Whether a fault is one of the changed options, or of how they fit the others."""
    name = fault.pointer.removeprefix("/options").strip("/")
    return not name or name in changes


def _json_type(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return next((word for kind, word in kinds.items() if isinstance(value, kind)), "a number")


def _fault(item: dict[str, Any]) -> Fault:
    """Turn one pydantic error into a fault that says what was given and what is allowed."""
    name = "/".join(str(part) for part in item["loc"])
    pointer, kind, given = f"/options/{name}".rstrip("/"), item["type"], item["input"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, StyleOptions.model_fields, n=1)
        hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(StyleOptions.model_fields)
        return Fault(pointer, "unknown_option", f"{name} is not an option; {hint}")
    if kind == "value_error":
        return Fault(pointer, "invalid_combination", str(item["ctx"]["error"]))
    schema = field_schemas(StyleOptions)[name]
    if kind == "literal_error":
        return Fault(pointer, "out_of_range", f"{name} is {given!r}; allowed are {', '.join(schema['enum'])}")
    allowed = f"allowed is {schema['minimum']:g} to {schema['maximum']:g}"
    if kind == "finite_number":
        return Fault(pointer, "not_finite", f"{name} is {given}; {allowed}")
    if kind in ("greater_than_equal", "less_than_equal"):
        return Fault(pointer, "out_of_range", f"{name} is {given}; {allowed}")
    whole = "a whole number" if schema["type"] == "integer" else "a number"
    return Fault(pointer, "wrong_type", f"{name} is {given!r}; it must be {whole}, {allowed}")

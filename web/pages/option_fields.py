"""The style options as fields of a form, made from their definition, and read back from what was typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from shared.options import Method, StyleOptions, known_options
from shared.texts import field_schemas, read_texts

Kind = Literal["integer", "number", "choice", "text"]
#: Chosen by its picture, not in the list of fields.
PRESET = "preset"
#: A range this wide is gone through in ratios, not in differences.
_LOG_RATIO = 50
#: How far a slider goes around the default of an option that may be 0, for which a ratio has no end.
_LOG_REACH = 1000
_BOOLEANS = (("true", "yes"), ("false", "no"))


@dataclass(frozen=True)
class Slider:
    """From where to where a slider goes; in ratios, at its left end then 0 if that is allowed."""

    low: float
    high: float
    in_ratios: bool
    from_zero: bool = False


@dataclass(frozen=True)
class OptionField:
    """One option, as a form shows it; numbers are texts, as inputs have them."""

    name: str
    title: str
    description: str
    kind: Kind
    default: str
    unit: str = ""
    minimum: str = ""
    maximum: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    slider: Slider | None = None

    @property
    def input_name(self) -> str:
        """What the form calls it."""
        return f"options.{self.name}"

    @property
    def range(self) -> str:
        """What is allowed, in words: thousands are set apart."""
        return " to ".join(map(_grouped, (self.minimum, self.maximum)))

    @property
    def pointer(self) -> str:
        """Where a refusal points at it."""
        return f"/options/{self.name}"


def option_fields(
    model: type[BaseModel] = StyleOptions, *, method: str = Method.GATYS, init: str = "content"
) -> list[OptionField]:
    """Return a field for each option that a method knows, in the order of the definition.

    Method and preset are chosen by pictures and buttons, not in the list of fields.
    """
    known = known_options(method, init, names=model.model_fields) - {PRESET, "method"}
    return [_field(name, entry) for name, entry in field_schemas(model).items() if name in known]


def option_values(
    fields: Iterable[OptionField], texts: Mapping[str, str], model: type[BaseModel] = StyleOptions
) -> dict[str, object]:
    """Return the options that were given, by name; what is left empty is for the preset to say.

    What is not of its kind stays a text: the definition refuses it, and says what is allowed.
    """
    given = {field.name: text for field in fields if (text := texts.get(field.name, "").strip())}
    return read_texts(model, given)


def option_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return options as inputs have them."""
    return {name: _text(value) for name, value in values.items()}


def _field(name: str, entry: Mapping[str, Any]) -> OptionField:
    kind, choices = _kind(entry)
    bounds = entry.get("minimum"), entry.get("maximum")
    return OptionField(
        name=name,
        title=entry.get("title", name),
        description=entry.get("description", ""),
        kind=kind,
        default=_text(entry.get("default")),
        unit=entry.get("x-unit", ""),
        minimum=_text(bounds[0]),
        maximum=_text(bounds[1]),
        choices=choices,
        slider=_slider(*bounds, default=entry.get("default")) if kind in ("integer", "number") else None,
    )


def _kind(entry: Mapping[str, Any]) -> tuple[Kind, tuple[tuple[str, str], ...]]:
    if "enum" in entry:
        return "choice", tuple((_text(value), _text(value)) for value in entry["enum"])
    if entry.get("type") == "boolean":
        return "choice", _BOOLEANS
    if entry.get("type") == "integer":
        return "integer", ()
    return ("number" if entry.get("type") == "number" else "text"), ()


def _slider(minimum: float | None, maximum: float | None, *, default: float | None) -> Slider | None:
    if minimum is None or maximum is None or minimum < 0:
        return None
    if minimum == 0 and default:
        low, high = default / _LOG_REACH, min(maximum, default * _LOG_REACH)
        if maximum >= default * _LOG_RATIO:
            return Slider(low, high, in_ratios=True, from_zero=True)
    in_ratios = minimum > 0 and maximum / minimum >= _LOG_RATIO
    return Slider(minimum, maximum, in_ratios=in_ratios)


def _grouped(text: str) -> str:
    return f"{int(text):,}".replace(",", "\u202f") if text.isdigit() and len(text) > 4 else text


def _text(value: Any) -> str:  # noqa: ANN401 - any default of an option
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)

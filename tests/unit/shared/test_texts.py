"""Texts become numbers, truths and nothing; what is allowed of them stays the model's to say."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.texts import field_schemas, is_printable, read_texts

Seconds = Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)]


class Wish(BaseModel):
    """A bit of everything."""

    model_config = ConfigDict(strict=True)

    count: int = Field(1, ge=1, le=9)
    weight: float = 0.5
    wait: Seconds | None = Field(None, description="How long")
    sure: bool = True
    kind: Literal["a", "b"] = "a"
    title: Annotated[str, Field(max_length=4)] | None = None
    labels: dict[str, str] = Field(default_factory=dict, max_length=2)
    start: Literal["here", "there"] = Field("here", alias="from")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "7", 7), ("count", " 7", 7), ("count", "+7", 7), ("count", "007", 7), ("count", "0", 0),
        ("count", "1.5", 1.5), ("count", "7.0", 7.0), ("count", "1e2", 100.0), ("count", "many", "many"),
        ("count", "true", "true"), ("count", "", ""), ("count", "0x10", "0x10"), ("count", "½", "½"),
        ("count", "٣", "٣"), ("count", "9" * 30, int("9" * 30)), ("count", "\ud800", "\ud800"),
        ("weight", ".5", 0.5), ("weight", "1", 1), ("weight", "-1", -1), ("weight", "1e400", math.inf),
        ("weight", "-Infinity", -math.inf), ("weight", "null", "null"),
        ("wait", "90.5", 90.5), ("wait", "-3", -3), ("wait", " null", None), ("wait", "soon", "soon"),
        ("sure", "true", True), ("sure", " false ", False), ("sure", "1", "1"), ("sure", "yes", "yes"),
        ("sure", "True", "True"), ("sure", "null", "null"),
        ("kind", "b", "b"), ("kind", "c", "c"), ("title", "null", "null"), ("title", " 5 ", " 5 "),
        ("title", "much too long", "much too long"), ("labels", "{}", "{}"), ("from", "there", "there"),
        ("start", "5", "5"), ("other", "5", "5"),
    ],
)  # fmt: skip
def test_a_text_is_read_as_its_field_has_it_or_stays_a_text(name: str, text: str, value: object):
    read = read_texts(Wish, {name: text})
    assert read == {name: value}
    assert type(read[name]) is type(value)


def test_not_a_number_is_a_number():
    assert math.isnan(read_texts(Wish, {"wait": "NaN"})["wait"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("count", "0", "greater_than_equal"), ("count", "1.5", "int_type"), ("count", "many", "int_type"),
        ("wait", "-3", "greater_than"), ("wait", "nan", "finite_number"), ("wait", "soon", "float_type"),
        ("sure", "1", "bool_type"), ("title", "much too long", "string_too_long"),
    ],
)  # fmt: skip
def test_the_model_says_what_is_wrong(name: str, text: str, kind: str):
    with pytest.raises(ValidationError) as refused:
        Wish.model_validate(read_texts(Wish, {name: text}))
    assert [error["type"] for error in refused.value.errors()] == [kind]


def test_a_schema_for_each_field_as_it_is_sent():
    schemas = field_schemas(Wish)
    assert list(schemas) == ["count", "weight", "wait", "sure", "kind", "title", "labels", "from"]
    assert (schemas["count"]["minimum"], schemas["count"]["maximum"]) == (1, 9)
    assert (schemas["wait"]["type"], schemas["wait"]["exclusiveMinimum"]) == ("number", 0)
    assert schemas["wait"]["description"] == "How long"
    assert (schemas["title"]["type"], schemas["title"]["maxLength"]) == ("string", 4)
    assert schemas["labels"]["maxProperties"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "Häfen am Meer ☂ 海",
        "👩\u200d👩\u200d👧",  # a family: joiners
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland: tags
        "❤\ufe0f",  # a variation
        "می\u200cخواهم",  # Persian needs the non-joiner
        "שלום\u200f!",  # a mark of direction
        "co\u00adoperation",
        "e\u0301",
        "\ue000",  # private: a company's logo
        "\U0001fae9",  # an emoji younger than some releases of Python
    ],
)
def test_what_people_write_is_a_name(text: str):
    assert is_printable(text)


@pytest.mark.parametrize(
    "text",
    ["\n", "\t", "\x00", "\x1b[31m", "\x7f", "\x85", "\ud800", "gnp.\u202efdp", "\u2066a\u2069"],
)
def test_what_steers_a_terminal_or_turns_a_line_around_is_none(text: str):
    assert not is_printable(text)

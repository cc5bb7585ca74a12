"""Texts become numbers, truths and nothing; what is allowed of them stays the model's to say."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.texts import field_schemas, read_texts

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

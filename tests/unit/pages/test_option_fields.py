"""Fields of a form, made from the definition of the options."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field

from shared.errors import InvalidOptions
from shared.options import StyleOptions, known_options, parse_options
from web.pages.option_fields import OptionField, Slider, option_fields, option_texts, option_values


class MoreOptions(StyleOptions):
    """The options of some later version."""

    grain: float = Field(
        0.5, ge=0, le=1, title="Grain", description="How coarse.", json_schema_extra={"x-unit": "mm"}
    )
    colours: Literal["style", "content"] = Field("style", title="Colours", description="Whose they are.")
    mirror: bool = Field(False, title="Mirror", description="Left is right.")
    seed: int | None = Field(None, ge=0, le=9, title="Seed", description="For chance.")
    note: str = Field("", title="Note", description="Anything.")


def more(name: str) -> OptionField:
    return next(field for field in option_fields(MoreOptions) if field.name == name)


def test_every_option_is_there_but_the_preset():
    names = [field.name for field in option_fields()]
    known = known_options("gatys") - {"preset", "method"}
    assert names == [name for name in StyleOptions.model_fields if name in known]
    steps = option_fields()[0]
    assert (steps.kind, steps.default, steps.minimum, steps.maximum) == ("integer", "100", "1", "2000")
    assert (steps.input_name, steps.pointer) == ("options.steps", "/options/steps")


def test_an_option_that_is_added_appears():
    grain = more("grain")
    assert (grain.kind, grain.title, grain.unit) == ("number", "Grain", "mm")
    assert (grain.minimum, grain.maximum, grain.default, grain.description) == (
        "0",
        "1",
        "0.5",
        "How coarse.",
    )
    assert (more("colours").kind, more("colours").choices) == (
        "choice",
        (("style", "style"), ("content", "content")),
    )
    assert [value for value, _ in more("mirror").choices] == ["true", "false"]
    assert (more("seed").kind, more("seed").default, more("seed").range) == ("integer", "", "0 to 9")
    assert more("note").kind == "text"


@pytest.mark.parametrize(
    ("name", "slider"),
    [
        ("steps", Slider(1, 2000, in_ratios=True)),
        ("size", Slider(32, 4096, in_ratios=True)),
        ("style_weight", Slider(1e-5, 10, in_ratios=True, from_zero=True)),
        ("learning_rate", Slider(1e-4, 1, in_ratios=True)),
        ("grain", Slider(0, 1, in_ratios=False)),
        ("colours", None),
        ("note", None),
    ],
)
def test_wide_ranges_are_gone_through_in_ratios(name: str, slider: Slider | None):
    assert more(name).slider == slider


def test_what_is_typed_becomes_what_the_definition_takes():
    fields = option_fields(MoreOptions)
    texts = {
        "steps": " 20 ",
        "content_weight": "1e3",
        "colours": "content",
        "mirror": "true",
        "note": "a",
        "size": "",
    }
    values = option_values(fields, texts, MoreOptions)
    assert values == {
        "steps": 20,
        "content_weight": 1000.0,
        "colours": "content",
        "mirror": True,
        "note": "a",
    }
    assert MoreOptions.model_validate(values).size == 512


@pytest.mark.parametrize("text", ["many", "12.5", "1e400", "nan", "-3", "9" * 30, "0x10", "½"])
def test_what_is_no_such_number_is_refused_by_the_definition(text: str):
    with pytest.raises(InvalidOptions) as refused:
        parse_options(option_values(option_fields(), {"steps": text}))
    assert [fault.pointer for fault in refused.value.faults] == ["/options/steps"]


def test_options_go_through_a_form_unchanged():
    options = StyleOptions(steps=7, style_weight=1e-5, content_weight=123456.789, learning_rate=0.1)
    values = option_values(option_fields(), option_texts(options.model_dump()))
    assert StyleOptions.model_validate(values) == options


def test_large_bounds_can_be_read():
    assert more("content_weight").range == "0 to 1\u202f000\u202f000\u202f000"
    assert more("learning_rate").range == "0.0001 to 1"

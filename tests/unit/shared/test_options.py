"""The style options: resolved, or refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidOptions
from shared.options import (
    FIRST_OPTIONS,
    PRESETS,
    Method,
    StyleOptions,
    change_options,
    option_help,
    parse_assignments,
    parse_options,
    read_stored_options,
    steps_of,
)


def refusal(values: object) -> dict[str, str]:
    with pytest.raises(InvalidOptions) as caught:
        parse_options(values)
    return {fault.pointer: fault.code for fault in caught.value.faults}


def test_defaults_are_those_of_the_paper():
    options = parse_options({})
    assert (options.steps, options.size) == (100, 512)
    assert (options.content_weight, options.style_weight, options.learning_rate) == (1e4, 1e-2, 0.02)


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({"steps": 0}, {"/options/steps": "out_of_range"}),
        ({"steps": 2001}, {"/options/steps": "out_of_range"}),
        ({"steps": 10.5}, {"/options/steps": "wrong_type"}),
        ({"steps": True}, {"/options/steps": "wrong_type"}),
        ({"steps": "100"}, {"/options/steps": "wrong_type"}),
        ({"size": 31}, {"/options/size": "out_of_range"}),
        ({"style_weight": -1}, {"/options/style_weight": "out_of_range"}),
        ({"style_weight": float("nan")}, {"/options/style_weight": "not_finite"}),
        ({"content_weight": float("inf")}, {"/options/content_weight": "not_finite"}),
        ({"preset": "baroque"}, {"/options/preset": "out_of_range"}),
        ({"stepz": 5}, {"/options/stepz": "unknown_option"}),
        ({"steps": 0, "size": 1}, {"/options/steps": "out_of_range", "/options/size": "out_of_range"}),
        ({"content_weight": 0, "style_weight": 0}, {"/options": "invalid_combination"}),
        ([], {"/options": "wrong_type"}),
        (None, {"/options": "wrong_type"}),
    ],
)
def test_refusals_name_every_option(values: object, faults: dict[str, str]):
    assert refusal(values) == faults


def test_a_preset_fills_what_is_not_given():
    for name, preset in PRESETS.items():
        options = parse_options({"preset": name})
        plain = StyleOptions().model_dump()
        assert options.model_dump() == {**plain, **preset.values, "preset": name}
        assert parse_options({"preset": name, "steps": 7}).steps == 7
        assert preset.title
        assert preset.line
    assert parse_options({"preset": "quick"}).steps != StyleOptions().steps


def test_the_old_name_of_a_preset_is_still_taken():
    assert parse_options({"preset": "draft", "steps": 7}) == parse_options({"preset": "quick", "steps": 7})


def test_resolved_options_stay_what_they_are():
    for values in (
        {"preset": "bold", "style_weight": 1e-2},
        {"method": "fast"},
        {"init": "fast", "detail": 64},
    ):
        options = parse_options(values)
        assert parse_options(options.shown()) == options
        assert read_stored_options(options.shown()) == options


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(InvalidOptions, match="preset is 'baroque'; allowed are classic, quick, gentle"):
        parse_options({"preset": "baroque"})
    assert refusal({"preset": 3}) == {"/options/preset": "out_of_range"}
    assert refusal({"preset": []}) == {"/options/preset": "out_of_range"}


def test_a_refusal_says_what_was_given_and_what_is_allowed():
    with pytest.raises(InvalidOptions, match="steps is 0; allowed is 1 to 2000"):
        parse_options({"steps": 0})
    with pytest.raises(InvalidOptions, match="did you mean steps"):
        parse_options({"stepz": 5})


@given(
    st.dictionaries(
        st.sampled_from([*StyleOptions.model_fields, "other"]), st.none() | st.floats() | st.text()
    )
)
def test_any_values_are_resolved_or_refused(values: dict[str, object]):
    try:
        options = parse_options(values)
    except InvalidOptions:
        assert refusal(values)
    else:
        assert parse_options(options.shown()) == options


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"method": "fast", "steps": 1, "preset": "fine", "size": 64}, {"steps", "preset"}),
        ({"method": "fast", "init": "fast", "checkpoint_every": 5}, {"init", "checkpoint_every"}),
        ({"style_strength": 1.0, "detail": 512}, {"style_strength", "detail"}),
        ({"method": "gatys", "init": "content", "detail": 512}, {"detail"}),
        ({"method": "fast", "content_weight": "much"}, {"content_weight"}),
    ],
)
def test_what_a_method_does_not_know_is_refused_by_name(values: dict[str, object], refused: set[str]):
    assert refusal(values) == {f"/options/{name}": "unknown_option" for name in refused}


def test_such_a_refusal_says_what_the_method_knows():
    with pytest.raises(
        InvalidOptions, match="steps is no option of the method 'fast', which knows size, sty"
    ):
        parse_options({"method": "fast", "steps": 5})
    with pytest.raises(
        InvalidOptions, match="'gatys' that starts from the content, which knows preset, steps"
    ):
        parse_options({"detail": 64})


def test_a_fast_job_makes_one_step_and_tells_only_what_it_knows():
    options = parse_options({"method": "fast", "detail": 256})
    assert options.steps == steps_of(options.shown()) == 1
    assert options.shown() == {"method": "fast", "size": 512, "style_strength": 1.0, "detail": 256}
    assert options.told_names == {"method", "size", "detail"}
    assert options.methods == {Method.FAST}


def test_an_optimisation_that_starts_from_a_fast_picture_takes_both_methods():
    options = parse_options({"init": "fast", "style_strength": 0.5})
    assert options.methods == {Method.GATYS, Method.FAST}
    assert {"init", "style_strength"} <= options.told_names
    assert parse_options({}).methods == {Method.GATYS}
    assert parse_options({}).told_names == FIRST_OPTIONS


def test_assignments_are_json_or_text():
    assert parse_assignments(["steps=5", "style_weight=1e-3", "preset=classic", "size=NaN"])["steps"] == 5
    with pytest.raises(InvalidOptions, match="name=value"):
        parse_assignments(["steps"])


def test_help_names_every_option():
    text = option_help()
    assert all(f"{name}=" in text for name in StyleOptions.model_fields)


def test_stored_options_stay_readable():
    """An option that has gone, one that came later, a range and a preset that have changed."""
    stored = {"preset": "baroque", "steps": 5000, "size": 8, "varnish": "matte"}
    options = read_stored_options(stored)
    assert (options.preset, options.steps, options.size) == ("baroque", 5000, 8)
    assert options.style_weight == StyleOptions().style_weight
    assert "varnish" not in options.model_dump()
    # A stored preset fills nothing in: what it was at the time is stored beside it.
    assert read_stored_options({"preset": "draft", "steps": 7}).size == StyleOptions().size
    with pytest.raises(InvalidOptions, match="steps"):
        read_stored_options({"steps": "seven"})
    with pytest.raises(InvalidOptions):
        read_stored_options(None)


def test_only_what_changes_is_judged():
    stored = {"preset": "baroque", "steps": 10, "size": 8, "varnish": "matte"}
    changed = change_options(stored, {"steps": 20})
    assert (changed.steps, changed.size, changed.preset) == (20, 8, "baroque")
    assert change_options(parse_options({}).model_dump(), {"steps": 20}) == parse_options({"steps": 20})
    for changes, pointer in [
        ({"steps": 5000}, "/options/steps"),
        ({"varnish": "matte"}, "/options/varnish"),
        ({"content_weight": 0, "style_weight": 0}, "/options"),
    ]:
        with pytest.raises(InvalidOptions) as caught:
            change_options({**stored, "size": 64, "preset": "classic"}, changes)
        assert [fault.pointer for fault in caught.value.faults] == [pointer]

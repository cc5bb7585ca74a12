"""The forms of a job's page, read: pure."""

from __future__ import annotations

import pytest

from shared.errors import Fault, InvalidOptions, MalformedRequest, MissingPart, StorageUnavailable
from shared.options import StyleOptions
from web.pages.job import (
    extension_room,
    fork_fields,
    option_lines,
    read_action,
    read_fork,
    refusal_of,
    usual_extension,
    usual_fork_steps,
)
from web.pages.option_fields import option_texts

PARENT = StyleOptions(preset="bold", steps=60, size=256, learning_rate=0.03).model_dump()
BOLD = StyleOptions(preset="bold")


def test_retry_from_a_checkpoint_unless_from_zero():
    assert (read_action("retry", {}).start, read_action("retry", {"from": "zero"}).start) == (
        "checkpoint",
        "zero",
    )
    with pytest.raises(MalformedRequest):
        read_action("retry", {"from": "step 3"})


def test_extend_takes_whole_numbers_and_names_what_is_none():
    assert read_action("extend", {"steps": " 50 "}).steps == 50
    for text, pointer in (("5.5", "/steps"), ("many", "/steps"), ("0", "/steps"), ("-3", "/steps")):
        with pytest.raises(MalformedRequest) as refused:
            read_action("extend", {"steps": text})
        assert [fault.pointer for fault in refused.value.faults] == [pointer]
    with pytest.raises(MissingPart):
        read_action("extend", {"steps": " "})


def test_a_fork_says_only_what_is_another_than_the_parents():
    sent = {f"options.{name}": text for name, text in option_texts(PARENT).items()}
    same = read_fork({**sent, "step": "40", "name": " "}, PARENT)
    assert (same.step, same.options, same.model_fields_set) == (40, {}, {"step", "options"})
    sent |= {"options.style_weight": "0.5", "options.steps": "80", "options.learning_rate": ""}
    changed = read_fork({**sent, "step": "40", "name": "Bolder"}, PARENT)
    assert (changed.options, changed.name) == ({"style_weight": 0.5, "steps": 80}, "Bolder")


def test_a_fork_never_has_another_size_or_preset():
    assert not {"size", "preset"} & {entry.name for entry in fork_fields()}
    assert read_fork({"step": "4", "options.size": "64"}, PARENT).options == {}


def test_what_is_no_number_is_left_to_the_definition_to_refuse():
    assert read_fork({"step": "4", "options.steps": "many"}, PARENT).options == {"steps": "many"}


def test_a_fork_of_a_fast_job_knows_the_options_of_the_optimisation_and_its_own():
    parent = {"method": "fast", "size": 64, "style_strength": 0.5, "detail": 64}
    names = {entry.name for entry in fork_fields(parent)}
    assert {"steps", "style_strength", "detail"} < names
    assert not {"size", "init", "method", "preset"} & names
    body = read_fork({"step": "", "options.steps": "9", "options.style_strength": "0.5"}, parent)
    assert (body.step, body.options) == (None, {"steps": 9})


def test_room_for_an_extension():
    assert (extension_room(1990), usual_extension(1990), usual_extension(100)) == (10, 10, 50)
    assert extension_room(2000) == 0


def test_steps_that_are_offered_for_a_fork():
    assert usual_fork_steps(100, 40) == 100
    assert usual_fork_steps(100, 100) == 200
    assert usual_fork_steps(1500, 1500) == 2000


def test_faults_are_shown_at_their_fields_and_the_rest_above():
    error = InvalidOptions(
        "steps is bad; size is bad",
        faults=(Fault("/options/steps", "x", "steps is bad"), Fault("/options/size", "x", "size is bad")),
    )
    refused = refusal_of("fork", error, {"step": "4"})
    assert refused.at == {"/options/steps": "Steps is bad."}
    assert (refused.detail, refused.typed) == ("Size is bad.", {"step": "4"})
    assert refusal_of("cancel", error, {}).detail == "Steps is bad; size is bad."


def test_what_a_service_says_of_itself_is_not_shown():
    refused = refusal_of("extend", StorageUnavailable("s3://secret@host refused"), {})
    assert "secret" not in str(refused)
    assert refused.suggestion


def test_options_that_are_not_the_presets_are_marked():
    lines = {line.field.name: line for line in option_lines(PARENT)}
    assert "preset" not in lines
    assert (lines["steps"].value, lines["steps"].usual) == ("60", str(BOLD.steps))
    assert lines["learning_rate"].usual == str(BOLD.learning_rate)
    assert lines["style_weight"].usual is None
    assert lines["size"].field.unit == "px"


def test_a_job_from_before_an_option_was_added_shows_it_as_it_is_by_default():
    old = {name: value for name, value in PARENT.items() if name != "learning_rate"}
    assert {line.field.name: line.value for line in option_lines(old)}["learning_rate"] == str(
        BOLD.learning_rate
    )

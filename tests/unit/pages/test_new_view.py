"""What the page 'New job' shows, and what stands in its form."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from PIL import Image
from werkzeug.datastructures import MultiDict

from shared.errors import Fault
from shared.options import PRESETS, StyleOptions
from tests.support.job_rows import NOW, job
from web.db.models import JobLabel
from web.pages.new_form import (
    NewForm,
    field_values,
    form_of_job,
    form_options,
    label_faults,
    read_form,
)
from web.pages.new_job import PRESET_PICTURE_PX, label_rows, place_faults, preset_cards, said_options
from web.pages.option_fields import option_fields, option_values

FIELDS = form_options()


def faults(*pointers: str) -> list[Fault]:
    return [Fault(pointer, "code", f"fault at {pointer}") for pointer in pointers]


def test_every_preset_has_a_picture_of_the_size_that_is_announced(request: pytest.FixtureRequest):
    static = request.config.rootpath / "web" / "static"
    assert [card.name for card in preset_cards()] == list(PRESETS)
    for card in preset_cards():
        path = static / card.picture
        assert path.is_file(), f"there is no picture of {card.name}; run examples/draw_presets.py"
        assert path.stat().st_size <= 15_000
        with Image.open(path) as picture:
            assert picture.format == "WEBP"
            assert picture.size == PRESET_PICTURE_PX
    assert len({(static / card.picture).read_bytes() for card in preset_cards()}) == len(PRESETS)


def test_a_card_knows_what_its_preset_makes_of_every_option():
    values = {card.name: json.loads(card.values) for card in preset_cards()}
    assert values["quick"]["steps"] == "40"
    assert values["quick"]["content_weight"] == "10000"
    assert set(values["classic"]) == {field.name for field in option_fields()}


def test_faults_go_to_their_fields_or_to_what_they_lie_in():
    form = NewForm(labels=(("known", "x"),))
    placed = place_faults(
        faults(
            "/content",
            "/options/steps",
            "/options/steps",
            "/labels/known",
            "/labels/Bad!",
            "/options",
            "/x",
            "",
        ),
        FIELDS,
        form,
    )
    assert placed.at("/content") == "Fault at /content."
    assert placed.at("/options/steps") == "Fault at /options/steps. Fault at /options/steps."
    assert placed.at("/labels/known") == "Fault at /labels/known."
    assert placed.at("/labels") == "Fault at /labels/Bad!"
    assert placed.at("/options") == "Fault at /options."
    assert list(placed.elsewhere) == ["Fault at /x.", "Fault at."]
    assert placed.under(["/labels"])
    assert not placed.under(["/name", "/label"])


def test_a_form_is_read_as_it_was_typed():
    sent = MultiDict(
        [
            ("preset", "bold"), ("options.steps", " 20 "), ("options.size", ""), ("name", "Harbour"),
            ("label_key", "a"), ("label_value", "1"), ("label_key", ""), ("label_value", ""),
            ("label_key", "b"), ("label_value", "2"), ("run_timeout_seconds", "60"),
            ("queue_timeout_seconds", " "), ("content_asset", "id"),
        ]
    )  # fmt: skip
    form = read_form(sent, FIELDS)
    assert (form.preset, form.options, form.name) == ("bold", {"steps": "20"}, "Harbour")
    assert form.labels == (("a", "1"), ("b", "2"))
    assert (form.timeouts, form.reuse, form.asset_ids) == (
        {"run_timeout_seconds": "60"},
        False,
        {"content": "id"},
    )
    assert field_values(form) == {
        "name": "Harbour", "labels": {"a": "1", "b": "2"}, "reuse": False, "run_timeout_seconds": 60.0,
    }  # fmt: skip
    assert said_options(form, FIELDS) == "steps 20"
    assert said_options(NewForm(), FIELDS) == "as the preset has them"


def test_a_label_given_twice_is_a_fault():
    form = NewForm(labels=(("a", "1"), ("a", "2"), ("b", "3")))
    assert [fault.pointer for fault in label_faults(form)] == ["/labels/a"]


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_jobs_form_hands_the_same_job_in(preset: str):
    options = StyleOptions(preset=preset, style_weight=0.5, checkpoint_every=7)
    row = job(
        options=options.model_dump(), name="Harbour", labels=[JobLabel(key="a", value="b")],
        content_asset_id="c", style_asset_id="s", run_timeout_seconds=60.0,
        queue_deadline=NOW + timedelta(seconds=90),
    )  # fmt: skip
    form = form_of_job(row)
    # Only what is not the preset's counts as typed: another preset may then change the rest.
    assert form.options == {"style_weight": "0.5", "checkpoint_every": "7"}
    assert StyleOptions(preset=form.preset, **option_values(FIELDS, form.options)) == options
    assert (form.name, form.labels, form.asset_ids) == (
        "Harbour",
        (("a", "b"),),
        {"content": "c", "style": "s"},
    )
    assert form.timeouts == {"queue_timeout_seconds": "90", "run_timeout_seconds": "60"}


def test_a_job_of_a_preset_that_is_gone_keeps_its_options():
    form = form_of_job(job(options={**StyleOptions(steps=7).model_dump(), "preset": "old", "gone": 1}))
    assert (form.preset, form.options) == ("classic", {"steps": "7"})


def test_there_is_always_room_for_another_label_until_there_are_sixteen():
    assert label_rows(NewForm()) == [("", "")] * 2
    assert len(label_rows(NewForm(labels=(("a", "1"),) * 15))) == 16
    assert len(label_rows(NewForm(labels=(("a", "1"),) * 16))) == 16

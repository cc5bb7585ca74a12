"""The page 'New job' without scripts: the form, what it submits, and its refusals."""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from pydantic import Field
from werkzeug.datastructures import MultiDict

import web.pages.new_form
from shared.options import StyleOptions
from web.pages.new_form import form_options
from web.pages.option_fields import option_fields

JOBS = "/api/v1/jobs"


class Form(HTMLParser):
    """The form on a page: its inputs by name, and what describes them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inputs: dict[str, list[dict[str, str | None]]] = {}
        self.texts: dict[str, str] = {}
        self.open_details: list[bool] = []
        self._inside: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag in ("input", "select") and values.get("name"):
            self.inputs.setdefault(values["name"], []).append(values)
        if tag == "details":
            self.open_details.append("open" in values)
        if tag == "p":
            self._inside.append(values.get("id"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "p" and self._inside:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1]:
            name = self._inside[-1]
            self.texts[name] = self.texts.get(name, "") + data

    def value(self, name: str) -> str | None:
        return self.inputs[name][0].get("value")

    def checked(self, name: str) -> list[str | None]:
        return [entry.get("value") for entry in self.inputs[name] if "checked" in entry]

    def fault(self, name: str) -> str:
        """Return what is said to be wrong with an input, by the element that describes it."""
        entry = self.inputs[name][0]
        described = (entry.get("aria-describedby") or "").split()
        text = "".join(self.texts.get(one, "") for one in described if one.endswith("-fault"))
        assert bool(text) == (entry.get("aria-invalid") == "true"), name
        return text


@pytest.fixture
def hand_in(client, make_picture) -> Callable[..., object]:
    """Send the form with two small pictures; what is given is put in, None is left out."""

    def do(**changes: object):
        given = {"content": make_picture(seed=1), "style": make_picture(48, 64, seed=2), "preset": "classic"}
        body = MultiDict()
        for name, value in {**given, **changes}.items():
            name = name.replace("__", ".")
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, bytes):
                    body.add(name, (io.BytesIO(one), f"{name}.png"))
                elif one is not None:
                    body.add(name, one)
        return client.post("/new", data=body, content_type="multipart/form-data")

    return do


def job_of(client, answer) -> dict:
    assert answer.status_code == 303, answer.text
    return client.get(answer.headers["Location"].replace("/jobs/", f"{JOBS}/")).json


def test_the_form_shows_every_option_and_preset(client):
    answer = client.get("/new")
    assert answer.status_code == 200
    form = Form(answer.text)
    assert form.checked("preset") == ["classic"]
    assert len(form.inputs["preset"]) == 5
    for field in form_options():
        entry = form.inputs[field.input_name][-1]
        if field.name == "init":
            assert (entry["type"], entry["value"], "checked" in entry) == ("checkbox", "fast", False)
            continue
        assert (entry["min"], entry["max"], entry["placeholder"]) == (
            field.minimum,
            field.maximum,
            field.default,
        )
        # Empty is: as the preset has it. Otherwise a preset could not be chosen without scripts.
        assert entry["value"] == ""
        assert field.description in html.unescape(answer.text)
    assert form.checked("reuse") == ["true"]
    assert form.open_details == [False, False, False]
    assert "Nothing measured yet" in answer.text
    assert "No worker is connected" in answer.text


def test_an_option_that_is_added_to_the_definition_is_on_the_page(client, monkeypatch):
    class MoreOptions(StyleOptions):
        grain: float = Field(0.5, ge=0, le=1, title="Grain", description="How coarse it is.")

    monkeypatch.setattr(
        web.pages.new_form, "option_fields", lambda **which: option_fields(MoreOptions, **which)
    )
    answer = client.get("/new")
    assert Form(answer.text).inputs["options.grain"][-1]["max"] == "1"
    assert "How coarse it is." in answer.text


def test_a_form_becomes_a_job(client, hand_in):
    answer = hand_in(
        preset="quick", options__steps="7", name="Harbour", label_key=["series", ""],
        label_value=["town", ""], queue_timeout_seconds="60", run_timeout_seconds="90.5", reuse="true",
    )  # fmt: skip
    job = job_of(client, answer)
    assert (job["name"], job["labels"]) == ("Harbour", {"series": "town"})
    assert job["options"] == StyleOptions(preset="quick", steps=7).shown()
    assert job["run_timeout_seconds"] == 90.5
    assert job["queue_deadline"] is not None
    assert job["input"]["content"]["filename"] == "content.png"
    assert (job["input"]["style"]["width"], job["input"]["style"]["height"]) == (48, 64)


def test_reuse_is_as_it_is_ticked(client, hand_in):
    first = job_of(client, hand_in(reuse="true"))
    assert job_of(client, hand_in(reuse="true"))["leader_id"] == first["id"]
    assert job_of(client, hand_in())["leader_id"] is None


def test_every_fault_is_at_its_field_and_nothing_is_lost(client, hand_in, make_picture):
    answer = hand_in(
        style=b"text", preset="bold", options__steps="0", options__size="wide", name="a\x07b",
        label_key=["Bad key", "good"], label_value=["1", "2"], run_timeout_seconds="soon",
    )  # fmt: skip
    assert (answer.status_code, answer.mimetype) == (422, "text/html")
    form = Form(answer.text)
    assert form.fault("style").startswith("The style is no picture: it is a text file")
    assert form.fault("options.steps") == "Steps is 0; allowed is 1 to 2000."
    assert "Size is 'wide'; it must be a whole number" in form.fault("options.size")
    assert "no control character" in form.fault("name")
    assert "number" in form.fault("run_timeout_seconds")
    assert "The label &#39;Bad key&#39; must be 1 to 63 characters" in answer.text
    assert form.fault("content") == form.fault("options.style_weight") == ""
    assert form.open_details == [False, True, True]
    # What was typed stands there again, and the good picture is kept.
    assert form.checked("preset") == ["bold"]
    assert (form.value("options.steps"), form.value("run_timeout_seconds")) == ("0", "soon")
    assert [entry["value"] for entry in form.inputs["label_key"][:2]] == ["Bad key", "good"]
    assert form.value("content_asset")
    assert not form.value("style_asset")
    assert f"/api/v1/assets/{form.value('content_asset')}/content" in answer.text
    assert client.get(JOBS).json["jobs"] == []

    mended = hand_in(content=None, content_asset=form.value("content_asset"))
    assert job_of(client, mended)["input"]["content"]["asset_id"] == form.value("content_asset")


def test_missing_pictures_are_both_named(hand_in):
    form = Form(hand_in(content=None, style=None).text)
    assert (form.fault("content"), form.fault("style")) == (
        "Choose a content picture.",
        "Choose a style picture.",
    )
    assert "autofocus" in form.inputs["content"][0]


def test_a_picture_that_does_not_fit_the_size_is_refused_at_its_place(hand_in, make_picture):
    form = Form(hand_in(content=make_picture(40, 2000), options__size="128").text)
    assert "would be worked on at" in form.fault("content")
    assert form.value("content_asset")


def test_weights_that_are_both_nothing_are_refused_at_the_options(hand_in):
    answer = hand_in(options__content_weight="0", options__style_weight="0")
    assert answer.status_code == 422
    assert "both 0" in Form(answer.text).texts["options-fault"]


def test_an_asset_that_is_not_known_is_refused_at_its_place(hand_in):
    form = Form(hand_in(content=None, content_asset="nobody's").text)
    assert form.fault("content").startswith("The content is not kept here any more")
    assert "nobody" not in form.fault("content")


@pytest.mark.parametrize("changes", [{"stepz": "1"}, {"label_key": ["x"] * 300}])
def test_what_is_not_of_this_form_is_said_at_the_top(client, hand_in, changes):
    answer = hand_in(**changes)
    assert answer.status_code == 422
    assert 'role="alert" data-elsewhere hidden' not in answer.text
    assert client.get(JOBS).json["jobs"] == []


def test_a_request_that_is_too_large_is_refused_as_a_page(client):
    # Made by hand: the test client's own leaves a temporary file open when it is large.
    head = b'--x\r\nContent-Disposition: form-data; name="content"; filename="c.png"\r\n\r\n'
    data = head + bytes(60_000_000) + b"\r\n--x--\r\n"
    answer = client.post("/new", data=data, content_type="multipart/form-data; boundary=x")
    assert (answer.status_code, answer.mimetype) == (422, "text/html")
    assert "at most 25 MB are allowed for a picture" in answer.text


def test_a_job_may_be_used_again(client, submit, hand_in):
    options = StyleOptions(preset="quick", steps=7)
    job = submit(options=options.shown(), name="Harbour", labels={"series": "town"}, run_timeout_seconds="60")
    answer = client.get(f"/new?from={job['id']}")
    form = Form(answer.text)
    assert form.checked("preset") == ["quick"]
    assert (form.value("options.steps"), form.value("options.size")) == ("7", "")
    assert (form.value("name"), form.value("run_timeout_seconds")) == ("Harbour", "60")
    assert (form.value("label_key"), form.value("label_value")) == ("series", "town")
    assets = {part: job["input"][part]["asset_id"] for part in ("content", "style")}
    assert {part: form.value(f"{part}_asset") for part in assets} == assets
    assert job["input"]["content"]["url"] in answer.text
    # Nothing is chosen anew: the file inputs are sent empty.
    again = hand_in(
        content=None, style=None, preset="quick", options__steps="8",
        **{f"{part}_asset": asset for part, asset in assets.items()},
    )  # fmt: skip
    made = job_of(client, again)
    assert made["options"] == {**options.shown(), "steps": 8}
    assert {part: made["input"][part]["asset_id"] for part in assets} == assets


def test_a_job_that_is_not_there_cannot_be_used_again(client):
    answer = client.get("/new?from=nobody", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.mimetype) == (404, "text/html")


def test_another_sites_form_hands_nothing_in(client, hand_in, make_picture):
    data = {"content": (io.BytesIO(make_picture()), "c.png"), "style": (io.BytesIO(make_picture()), "s.png")}
    answer = client.post("/new", data=data, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert client.get(JOBS).json["jobs"] == []


def test_names_are_shown_as_text(client, submit):
    job = submit(name="<script>alert(1)</script>", labels={"a": '"><img src=x onerror=alert(1)>'})
    text = client.get(f"/new?from={job['id']}").text
    assert "<script>alert" not in text
    assert "<img src=x" not in text

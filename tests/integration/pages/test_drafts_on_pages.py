"""Drafts on the pages without scripts: made and kept with buttons; and the strips to choose from."""

from __future__ import annotations

import hashlib
import io
import re

import pytest

from shared.broker import DEFAULT_ROUTE, FAST_ROUTE
from shared.clock import utc_now
from tests.support.rows import add_picture
from web.db.models import Job
from web.jobs.line import read_shared_queue
from web.jobs.queries import recent_styles
from web.pages.picture_strips import EXAMPLES, MOST_STARRED, example_hashes

JOBS = "/api/v1/jobs"


@pytest.fixture
def hand_in(client, make_picture):
    """Send the form of 'New job' by one of its buttons, with small pictures where no others are given."""

    def do(action: str = "draft", **fields: object):
        pictures = {"content": make_picture(seed=1), "style": make_picture(48, 64, seed=2)}
        given = {"preset": "classic", "action": action, **pictures, **fields}
        body = {
            name.replace("__", "."): (io.BytesIO(value), f"{name}.png") if isinstance(value, bytes) else value
            for name, value in given.items()
            if value is not None
        }
        return client.post("/new", data=body, content_type="multipart/form-data")

    return do


def picks(page: str) -> list[tuple[str, bool]]:
    """Return the caller's own styles in the strip, in order: id of the asset, and whether it has a star."""
    strip = re.search(r"data-known-row.*?<template", page, re.DOTALL)[0]
    return [
        (asset_id, word == "unstar")
        for word, asset_id in re.findall(r'name="action" value="(star|unstar) ([\w-]+)"', strip)
    ]


def star_of_the_half(page: str) -> tuple[str, str, bool]:
    """Return what the button at the style's half does, to which asset, and whether it is shown."""
    foot = re.search(r'id="style-title".*?<div class="well-foot">(.*?)</section>', page, re.DOTALL)[1]
    button = re.search(r'<button class="star button small"[^>]*>', foot)[0]
    word, _, asset_id = re.search(r'value="([^"]*)"', button)[1].partition(" ")
    return word, asset_id, "hidden" not in button


def chosen(page: str, part: str) -> str:
    """Return the id of the asset that a half has."""
    return re.search(rf'type="hidden" name="{part}_asset" value="([^"]*)"', page)[1]


def job_at(client, answer) -> dict:
    assert answer.status_code == 303, answer.text
    return client.get(answer.headers["Location"].replace("/jobs/", f"{JOBS}/")).json


def test_the_button_makes_a_draft_with_what_it_knows_of_the_options(client, hand_in):
    draft = job_at(
        client, hand_in(preset="fine", options__steps="7", options__style_strength="0.5", name="Harbour")
    )
    assert (draft["kind"], draft["name"]) == ("draft", "Harbour")
    assert draft["options"] == {"method": "fast", "size": 1024, "style_strength": 0.5, "detail": 1024}
    assert client.get(JOBS).json["jobs"] == []
    own_size = job_at(client, hand_in(preset="fine", options__size="300"))
    assert own_size["options"]["size"] == 300


def test_a_preset_that_is_none_hinders_no_draft(client, hand_in):
    assert job_at(client, hand_in(preset="grand"))["options"]["size"] == 512


def test_the_job_takes_strength_and_detail_only_where_it_starts_from_the_draft(client, hand_in):
    plain = job_at(client, hand_in("", options__style_strength="0.5", options__detail="64"))
    assert (plain["kind"], plain["options"]["init"]) == ("job", "content")
    assert "style_strength" not in plain["options"]
    begun = job_at(
        client, hand_in("", options__init="fast", options__style_strength="0.5", options__detail="64")
    )
    assert {name: begun["options"][name] for name in ("init", "style_strength", "detail")} == {
        "init": "fast",
        "style_strength": 0.5,
        "detail": 64,
    }


def test_a_draft_too_many_is_refused_on_the_page_with_all_that_was_typed(
    client, hand_in, settings, make_picture
):
    for number in range(settings.max_drafts):
        job_at(client, hand_in(style=make_picture(48, 64, seed=10 + number)))
    answer = hand_in(name="Harbour")
    assert answer.status_code == 429
    assert f"{settings.max_drafts} of your drafts are under way" in answer.text
    assert 'value="Harbour"' in answer.text
    assert job_at(client, hand_in("", name="Harbour"))["kind"] == "job"


def test_what_a_draft_does_not_allow_is_said_at_its_field(hand_in):
    answer = hand_in(options__style_strength="3")
    assert answer.status_code == 422
    assert "Style strength is 3" in answer.text
    assert re.search(r'<details class="draft-options" id="draft-options" open>', answer.text)


def test_the_page_of_a_draft_says_so_and_keeps_it(client, hand_in):
    location = hand_in().headers["Location"]
    page = client.get(location).text
    assert "It goes 1 d after its end unless you keep it." in page
    assert f'action="{location}/keep"' in page
    answer = client.post(f"{location}/keep")
    assert (answer.status_code, answer.headers["Location"]) == (303, location)
    page = client.get(location).text
    assert "unless you keep it" not in page
    assert f'action="{location}/keep"' not in page
    assert [job["id"] for job in client.get(JOBS).json["jobs"]] == [location.rsplit("/", 1)[1]]


def test_a_recent_style_is_chosen_without_scripts(client, hand_in, submit, make_picture):
    style = submit(style=make_picture(40, 40, seed=7))["input"]["style"]["asset_id"]
    page = client.get("/new").text
    assert f'value="{style}"' in page
    assert f"/api/v1/assets/{style}/thumbnail" in page
    draft = job_at(client, hand_in(style=None, style_asset=["", style]))
    assert draft["input"]["style"]["asset_id"] == style


def test_a_file_goes_before_what_is_picked(client, hand_in, submit, make_picture):
    style = submit(style=make_picture(40, 40, seed=7))["input"]["style"]["asset_id"]
    assert job_at(client, hand_in(style_asset=["", style]))["input"]["style"]["asset_id"] != style


def test_recent_styles_are_those_of_jobs_newest_first_and_each_once(submit, services, make_picture):
    for seed in (1, 2, 1, 3):
        submit(style=make_picture(40, 40, seed=seed))
    submit(style=make_picture(40, 40, seed=4), kind="draft", options={})
    with services.backend.database.read() as session:
        styles = recent_styles(session, caller="local", limit=2)
        every = recent_styles(session, caller="local", limit=9)
        assert recent_styles(session, caller="another", limit=9) == []
        newest = session.query(Job).where(Job.kind == "job").order_by(Job.id.desc()).limit(2).all()
        assert [asset.id for asset in styles] == [job.style_asset_id for job in newest]
    assert len(every) == 3


def test_examples_are_taken_without_scripts(client, hand_in, request):
    folder = request.config.rootpath / "web/static/examples"
    page = client.get("/new").text
    for part, titles in EXAMPLES.items():
        offered = re.findall(rf'type="radio" name="{part}_asset" value="(example:[\w-]+)"', page)
        assert offered == [f"example:{name}" for name in titles]
    draft = job_at(
        client,
        hand_in(
            content=None,
            style=None,
            content_asset=["", "example:content-owl"],
            style_asset=["", "example:style-dots"],
        ),
    )
    for part, name in (("content", "content-owl.jpg"), ("style", "style-dots.jpg")):
        data = (folder / name).read_bytes()
        assert draft["input"][part]["filename"] == name
        assert draft["input"][part]["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_file_goes_before_an_example_and_an_example_before_what_the_half_had(client, hand_in, submit):
    had = submit()["input"]["style"]["asset_id"]
    file = job_at(client, hand_in(style_asset=[had, "example:style-dots"]))
    assert file["input"]["style"]["filename"] == "style.png"
    picked = job_at(client, hand_in(style=None, style_asset=[had, "example:style-dots"]))
    assert picked["input"]["style"]["filename"] == "style-dots.jpg"
    page = client.get("/new").text
    assert page.count("<noscript><p") == 2
    assert "One of these is taken unless you choose a file above." in page


def test_an_example_stays_in_a_form_that_is_refused(client, hand_in):
    answer = hand_in("", content=None, style=None, style_asset=["", "example:style-dots"])
    assert answer.status_code == 422
    style = chosen(answer.text, "style")
    assert client.get(f"/api/v1/assets/{style}").json["filename"] == "style-dots.jpg"
    assert "style-dots.jpg" in answer.text
    again = job_at(client, hand_in("", style=None, style_asset=style))
    assert again["input"]["style"]["asset_id"] == style


@pytest.mark.parametrize("name", ["style-lace", "content-owl", "../presets/bold", ""])
def test_an_example_that_is_none_is_said_at_its_half(client, hand_in, name):
    answer = hand_in("", style=None, style_asset=["", f"example:{name}"])
    assert answer.status_code == 422
    assert "not kept here any more, or never was" in answer.text
    assert client.get(JOBS).json["jobs"] == []


def test_starred_styles_come_first_in_the_strip_and_only_once(client, submit, make_picture):
    ids = [submit(style=make_picture(40, 40, seed=seed))["input"]["style"]["asset_id"] for seed in range(4)]
    for one in (1, 2):
        client.put(f"/api/v1/assets/{ids[one]}/star")
    other = client.post("/api/v1/assets", data={"file": (io.BytesIO(make_picture(seed=9)), "kept.png")}).json
    client.put(f"/api/v1/assets/{other['id']}/star")
    expected = [(other["id"], True), (ids[2], True), (ids[1], True), (ids[3], False), (ids[0], False)]
    assert picks(client.get("/new").text) == expected


def test_an_example_that_is_starred_is_among_the_starred_ones(client, request):
    data = (request.config.rootpath / "web/static/examples/style-dots.jpg").read_bytes()
    asset = client.post("/api/v1/assets", data={"file": (io.BytesIO(data), "style-dots.jpg")}).json
    client.put(f"/api/v1/assets/{asset['id']}/star")
    assert picks(client.get("/new").text) == [(asset["id"], True)]


def test_many_starred_styles_do_not_keep_recent_ones_from_the_strip(client, submit, services):
    recent = submit()["input"]["style"]["asset_id"]
    with services.backend.database.write() as session:
        for number in range(MOST_STARRED + 3):
            asset = add_picture(session, now=utc_now(), sha256=f"{number:064}")
            asset.starred_at = utc_now()
    shown = picks(client.get("/new").text)
    assert len(shown) == MOST_STARRED + 1
    assert shown[-1] == (recent, False)


def test_a_star_is_set_without_scripts_and_the_form_keeps_all_it_had(client, hand_in, submit, make_picture):
    style = submit(style=make_picture(40, 40, seed=7))["input"]["style"]["asset_id"]
    page = hand_in(f"star {style}", preset="fine", name="Harbour", options__steps="7")
    assert page.status_code == 200
    assert (style, True) in picks(page.text)
    assert client.get(f"/api/v1/assets/{style}").json["starred_at"]
    # The files that were chosen are there, since no browser would fill them in again.
    assert client.get(f"/api/v1/assets/{chosen(page.text, 'content')}").json["filename"] == "content.png"
    assert 'value="Harbour"' in page.text
    assert re.search(r'name="preset" value="fine"[^>]*checked', page.text)
    assert 'value="7"' in page.text
    word, asset_id, is_shown = star_of_the_half(page.text)
    assert (word, asset_id, is_shown) == ("star", chosen(page.text, "style"), True)
    own = hand_in(f"star {asset_id}", content=None, style=None, style_asset=asset_id)
    assert own.status_code == 200  # that there is no content yet is no fault now
    assert star_of_the_half(own.text) == ("unstar", asset_id, True)
    assert picks(own.text) == [(asset_id, True), (style, True)]
    gone = hand_in(f"unstar {asset_id}", content=None, style=None, style_asset=asset_id)
    assert star_of_the_half(gone.text) == ("star", asset_id, True)
    assert picks(gone.text) == [(style, True)]


def test_a_half_without_a_picture_has_no_star_to_set(client):
    page = client.get("/new").text
    assert star_of_the_half(page)[2] is False


def test_a_star_that_cannot_be_set_is_said_and_nothing_typed_is_lost(app, client, hand_in, services, submit):
    style = submit()["input"]["style"]["asset_id"]
    unknown = hand_in("star 01a20000-0000-7000-8000-000000000000", name="Harbour")
    assert unknown.status_code == 404
    assert "The style is not kept here any more" in unknown.text
    assert 'value="Harbour"' in unknown.text
    with services.backend.database.write() as session:
        for number in range(services.backend.settings.max_stars):
            asset = add_picture(session, now=utc_now(), sha256=f"{number:064}")
            asset.starred_at = utc_now()
    full = hand_in(f"star {style}", name="Harbour")
    assert full.status_code == 409
    assert "100 of your pictures are starred; at most 100 may be" in full.text
    assert 'value="Harbour"' in full.text


def test_the_enter_key_presses_a_button_that_starts_the_job(client):
    """The first submit button of a form is what Enter presses; it must not be that of a star."""
    form = re.search(r'<form class="page new-job".*?</form>', client.get("/new").text, re.DOTALL)[0]
    first = re.search(r"<button[^>]*type=\"submit\"[^>]*>", form)[0]
    assert "name=" not in first


def test_an_example_that_was_used_is_not_offered_twice(client, submit, request):
    folder = request.config.rootpath / "web/static/examples"
    submit(style=(folder / "style-dots.jpg").read_bytes())
    assert picks(client.get("/new").text) == []


def test_every_example_has_its_file_and_a_small_one(request):
    static = request.config.rootpath / "web/static/examples"
    for part, titles in EXAMPLES.items():
        for name in titles:
            assert name.startswith(part)
            assert (static / f"{name}.jpg").is_file()
            assert (static / "small" / f"{name}.jpg").is_file()
    assert len({*static.glob("*.jpg")}) == sum(map(len, EXAMPLES.values()))
    assert len(example_hashes()) == len(EXAMPLES["style"])
    readme = (request.config.rootpath / "examples/README.md").read_text()
    titles = dict(re.findall(r"^\| `([\w-]+)\.png` \| ([^|]+) \|", readme, flags=re.MULTILINE))
    assert titles == {**EXAMPLES["content"], **EXAMPLES["style"]}


def test_an_idle_worker_of_drafts_is_not_said_to_serve_nothing(services, workshop):
    """Of an empty line, too, it counts who serves what waits there."""
    workshop.connect("drafts", "cpu", methods=["fast"])
    queue = read_shared_queue(services.backend, FAST_ROUTE)
    assert (queue.workers, queue.no_start) == (1, None)
    assert "'gatys'" in (read_shared_queue(services.backend, DEFAULT_ROUTE).no_start or "")

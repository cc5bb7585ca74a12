"""The page 'New job' in a browser: pictures by every way, presets, options and the estimate."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image, ImageStat
from playwright.sync_api import Locator, Page, Route, expect

from shared.options import StyleOptions
from tests.browser.new_job_form import CONTENT, STYLE, bring, choose, choose_both, fold, job_on, start, well
from tests.support.visitor import Theme, Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop


@pytest.fixture
def new(visitor: Visitor, site: Site) -> Page:
    page = visitor.open(f"{site.url}/new")
    expect(page.get_by_role("heading", name="New job")).to_be_visible()
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 820, 390])
def test_controls_are_of_their_theme_and_radios_are_round(
    visitor: Visitor, site: Site, theme: Theme, width: int
):
    """A radio lies on a picture: around its circle the picture is seen, and no square of any colour."""
    page = visitor.open(f"{site.url}/new", theme=theme, width=width)
    pictures = page.locator(".preset img")
    pictures.evaluate_all("(all) => Promise.all(all.map((one) => (one.loading = 'eager') && one.decode()))")
    for radio in page.locator("[name=preset]").all():
        radio.evaluate("(input) => input.scrollIntoView({ block: 'center' })")  # not below the bar
        shown = _corners(radio)
        radio.evaluate("(input) => { input.style.visibility = 'hidden'; }")
        assert _corners(radio) == shown
        radio.evaluate("(input) => { input.style.visibility = ''; }")
    fold(page, "Options")
    fold(page, "More")
    page.get_by_label("Reuse an earlier result").uncheck()
    controls = page.locator("[name=reuse], #name, #option-steps, [data-option=steps] [type=range]")
    assert controls.count() == 4
    for control in controls.all():
        light = ImageStat.Stat(_seen(control).convert("L")).mean[0]
        assert (light > 128) == (theme == "light"), (control.get_attribute("id"), light)


def _seen(control: Locator) -> Image.Image:
    with Image.open(io.BytesIO(control.screenshot())) as picture:
        return picture.convert("RGB")


def _corners(radio: Locator) -> list[object]:
    """Return the colours at the four corners of the square that a radio lies in, with its ring."""
    box = radio.bounding_box()
    assert box is not None
    ring = {"x": box["x"] - 1, "y": box["y"] - 1, "width": box["width"] + 2, "height": box["height"] + 2}
    data = radio.page.screenshot(clip=ring)
    with Image.open(io.BytesIO(data)) as picture:
        right, bottom = picture.width - 1, picture.height - 1
        return [
            picture.convert("RGB").getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))
        ]


def test_a_job_with_all_that_can_be_said(new: Page, site: Site):
    choose_both(new)
    new.get_by_role("radio", name="Bold").check()
    fold(new, "Options")
    new.get_by_label("Steps", exact=True).fill("12")
    new.get_by_label("Size (px)").fill("128")
    fold(new, "More")
    new.get_by_label("Name").fill("Harbour")
    new.get_by_label("Label's key").fill("series")
    new.get_by_label("Label's value").fill("town")
    new.get_by_role("button", name="Add a label").click()
    new.get_by_label("Label's key").last.fill("year")
    new.get_by_label("Label's value").last.fill("2026")
    new.get_by_label("Start within").fill("600")
    new.get_by_label("Run at most").fill("90")
    new.get_by_label("Reuse an earlier result").uncheck()
    start(new)
    job = job_on(new, site)
    assert job["options"] == StyleOptions(preset="bold", steps=12, size=128).shown()
    assert (job["name"], job["labels"]) == ("Harbour", {"series": "town", "year": "2026"})
    assert job["run_timeout_seconds"] == 90
    assert job["queue_deadline"]
    assert job["input"]["content"]["filename"] == "content.png"
    assert (job["input"]["style"]["width"], job["input"]["style"]["height"]) == (640, 512)


def test_the_first_job_is_made_of_the_example_pictures_by_clicks(visitor: Visitor, site: Site):
    page = visitor.open(site.url)
    page.get_by_role("link", name="Try it with example pictures").click()
    for part in ("content", "style"):
        expect(page.locator(f".well[data-part={part}] [data-facts]")).to_contain_text(f"{part}.jpg")
    start(page)
    assert job_on(page, site)["input"]["content"]["width"] == 768


def test_the_example_pictures_are_a_click_away(new: Page):
    new.get_by_role("button", name="Use the example pictures").click()
    for part in ("content", "style"):
        expect(new.locator(f".well[data-part={part}] [data-facts]")).to_contain_text(f"{part}.jpg")


def test_who_comes_back_from_a_job_finds_its_pictures_and_options(new: Page, site: Site):
    choose_both(new)
    fold(new, "Options")
    new.get_by_label("Steps", exact=True).fill("12")
    start(new)
    job = job_on(new, site)
    new.go_back()
    for part in ("content", "style"):
        well = new.locator(f".well[data-part={part}]")
        expect(well.locator("[data-facts]")).to_contain_text(f"{part}.png")
    expect(new.get_by_label("Steps", exact=True)).to_have_value("12")
    start(new)
    expect(new).to_have_url(re.compile(rf"/jobs/(?!{job['id']})"))
    assert job_on(new, site)["input"]["content"]["asset_id"] == job["input"]["content"]["asset_id"]


def test_a_picture_that_is_chosen_before_the_scripts_come_is_kept(page: Page, site: Site):
    held: list[Route] = []
    page.route("**/js/picture_well.js", lambda route: held.append(route))
    with page.expect_request("**/js/picture_well.js"):
        page.goto(f"{site.url}/new", wait_until="commit")
    choose(page, "Content", CONTENT)
    with page.expect_event("load"):
        held[0].continue_()
    expect(well(page, "Content")).to_contain_text("768 × 512 px")
    choose(page, "Style", STYLE)
    start(page)
    assert job_on(page, site)["input"]["content"]["filename"] == "content.png"


def test_pictures_are_dropped_on_a_half_or_anywhere(new: Page):
    bring(new, "drop", '[data-part="style"] .well-face', CONTENT)
    expect(well(new, "Style")).to_contain_text("content.png")
    bring(new, "drop", "h1", STYLE)  # the half that is still empty
    expect(well(new, "Content")).to_contain_text("style.png")
    bring(new, "drop", "h1", CONTENT, STYLE)  # both at once
    expect(well(new, "Content")).to_contain_text("content.png")
    expect(well(new, "Style")).to_contain_text("style.png")
    expect(well(new, "Style").get_by_role("img", name="style: style.png")).to_be_visible()
    expect(new.locator(".is-target, .is-dragging")).to_have_count(0)


def test_pictures_are_pasted_into_the_half_with_the_focus_or_an_empty_one(new: Page):
    bring(new, "paste", "body", CONTENT)
    expect(well(new, "Content")).to_contain_text("content.png")
    bring(new, "paste", "body", CONTENT)
    expect(well(new, "Style")).to_contain_text("content.png")
    well(new, "Style").get_by_role("button", name="Replace").focus()
    bring(new, "paste", "body", STYLE)
    expect(well(new, "Style")).to_contain_text("style.png")
    expect(well(new, "Content")).to_contain_text("content.png")


def test_pictures_are_swapped_replaced_and_removed(new: Page, site: Site):
    choose_both(new)
    new.get_by_role("button", name="Swap content and style").click()
    expect(well(new, "Content")).to_contain_text("640 × 512 px")
    expect(well(new, "Style")).to_contain_text("768 × 512 px")
    with new.expect_file_chooser() as chooser:
        well(new, "Style").get_by_role("button", name="Replace").click()
    chooser.value.set_files(STYLE)
    expect(well(new, "Style")).to_contain_text("style.png")
    well(new, "Style").get_by_role("button", name="Remove").click()
    expect(well(new, "Style")).to_contain_text("Drop, paste or choose")
    expect(well(new, "Style").get_by_label("Style picture")).to_be_focused()
    choose(new, "Style", CONTENT)
    start(new)
    job = job_on(new, site)
    assert (job["input"]["content"]["filename"], job["input"]["style"]["filename"]) == (
        "style.png",
        "content.png",
    )


def test_nothing_jumps_while_pictures_come(new: Page):
    # Not by the browser's own sum of shifts: it forgives what follows a choice at once.
    where = "() => [...document.querySelectorAll('.well-face, .presets, .fold')].map((one) => one.offsetTop)"
    before = new.evaluate(where)
    choose_both(new)
    new.get_by_role("button", name="Swap content and style").click()
    expect(well(new, "Content")).to_contain_text("640 × 512 px")
    assert new.evaluate(where) == before
    assert new.evaluate("takeShift()") < 0.01


def test_a_preset_changes_what_nobody_has_touched(new: Page, site: Site):
    steps, size = new.get_by_label("Steps", exact=True), new.get_by_label("Size (px)")
    fold(new, "Options")
    expect(steps).to_have_value("100")
    new.get_by_role("radio", name="Quick").check()
    expect(steps).to_have_value("40")
    expect(size).to_have_value("256")
    steps.fill("33")
    new.get_by_role("radio", name="Fine").check()
    expect(steps).to_have_value("33")
    expect(size).to_have_value("1024")
    expect(new.locator("[data-said]")).to_have_text("steps 33")
    new.get_by_role("button", name="as the preset has Steps").click()
    expect(steps).to_have_value("200")
    expect(new.locator("[data-said]")).to_have_text("as the preset has them")


def test_sliders_go_along_with_numbers(new: Page):
    fold(new, "Options")
    slider, number = new.get_by_label("Style weight, by slider"), new.get_by_label("Style weight", exact=True)
    slider.focus()
    new.keyboard.press("Home")
    expect(number).to_have_value("0")
    new.keyboard.press("End")
    expect(number).to_have_value("10")
    number.fill("0.01")
    at_default = slider.input_value()
    number.fill("0.1")
    assert int(slider.input_value()) > int(at_default)
    steps = new.get_by_label("Steps, by slider")
    steps.focus()
    new.keyboard.press("ArrowRight")
    assert int(new.get_by_label("Steps", exact=True).input_value()) in range(101, 110)
    new.keyboard.press("ArrowLeft")
    expect(new.get_by_label("Steps", exact=True)).to_have_value("100")


def test_the_estimate_follows(new: Page, site: Site, workshop: Workshop):
    run, wait = new.locator("[data-run]"), new.locator("[data-wait]")
    expect(run).to_contain_text("Nothing measured yet")
    expect(wait).to_contain_text("No worker is connected")
    workshop.connect()
    job = site.submit(options={"size": 512})
    workshop.claim(job["id"])
    workshop.succeed(job["id"])
    choose_both(new)
    expect(run).to_have_text("About 13 s (9 s to 16 s, from 1 job on this service).")
    expect(wait).to_have_text("A worker is free: it starts at once.")
    fold(new, "Options")
    new.get_by_label("Steps", exact=True).fill("200")
    expect(run).to_contain_text("About 25 s")


def test_what_cannot_be_estimated_is_said_at_its_field_as_it_is_typed(new: Page, visitor: Visitor):
    visitor.expects("422.*/api/v1/estimate")
    fold(new, "Options")
    field = new.get_by_label("Size (px)")
    field.fill("5000")
    expect(field).to_have_accessible_description(re.compile("Size is 5000; allowed is 32 to 4096"))
    expect(field).to_be_focused()
    field.fill("500")
    expect(field).not_to_have_attribute("aria-invalid", "true")

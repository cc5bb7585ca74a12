"""Submitting from a browser: refusals at their fields, one job however answers are lost, and no scripts."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.new_job_form import (
    CONTENT,
    STYLE,
    bring,
    catch_jobs,
    choose,
    choose_both,
    fold,
    job_on,
    jobs_of,
    start,
    well,
)
from tests.support.visitor import DESKTOP, PHONE, Visitor
from tests.support.website import Site


@pytest.fixture
def new(visitor: Visitor, site: Site) -> Page:
    return visitor.open(f"{site.url}/new")


def test_a_refusal_is_at_its_field_and_nothing_is_lost(new: Page, site: Site, visitor: Visitor):
    visitor.expects("422.*/api/v1/(jobs|estimate)")
    choose_both(new)
    fold(new, "More")
    new.get_by_label("Name").fill("Harbour")
    fold(new, "Options")
    new.get_by_label("Learning rate", exact=True).fill("7")
    new.get_by_label("Style weight", exact=True).fill("-1")
    fold(new, "Options")  # closed again: what is at fault must be seen all the same
    start(new)
    weight = new.get_by_label("Style weight", exact=True)
    expect(weight).to_be_focused()  # the first of them
    expect(weight).to_have_accessible_description(re.compile("Style weight is -1; allowed is 0 to 1e"))
    rate = new.get_by_label("Learning rate", exact=True)
    expect(rate).to_have_accessible_description(re.compile("Learning rate is 7; allowed is 0.0001 to 1"))
    assert jobs_of(site) == []
    rate.fill("0.5")
    expect(rate).not_to_have_attribute("aria-invalid", "true")
    weight.fill("0.5")
    start(new)
    job = job_on(new, site)
    assert (job["options"]["learning_rate"], job["options"]["style_weight"]) == (0.5, 0.5)
    assert job["name"] == "Harbour"


def test_a_picture_that_the_service_cannot_read_is_refused_at_its_half(
    new: Page, site: Site, visitor: Visitor
):
    visitor.expects("422.*/api/v1/assets", "ERR_UNKNOWN|EncodingError")
    choose(new, "Content", {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    choose(new, "Style", STYLE)
    expect(well(new, "Content")).to_contain_text("cannot show the picture")
    start(new)
    expect(well(new, "Content")).to_contain_text(
        "The content is no picture: it is a text file; allowed are JPEG"
    )
    expect(new.get_by_label("Content picture")).to_be_focused()
    expect(well(new, "Style")).to_contain_text("style.png")
    choose(new, "Content", CONTENT)
    expect(well(new, "Content")).not_to_contain_text("is not a picture")
    start(new)
    assert job_on(new, site)["input"]["content"]["filename"] == "content.png"


def test_a_picture_that_no_browser_shows_is_handed_in(new: Page, site: Site, visitor: Visitor):
    visitor.expects("ERR_UNKNOWN|EncodingError")
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 90, 10)).save(buffer, "TIFF")
    choose(new, "Content", {"name": "a.tif", "mimeType": "image/tiff", "buffer": buffer.getvalue()})
    choose(new, "Style", STYLE)
    start(new)
    assert job_on(new, site)["input"]["content"]["width"] == 64


def test_what_is_cheap_to_see_is_refused_before_it_is_sent(new: Page, site: Site, tmp_path: Path):
    start(new)
    expect(well(new, "Content")).to_contain_text("Choose a content picture.")
    expect(well(new, "Style")).to_contain_text("Choose a style picture.")
    expect(new.get_by_label("Content picture")).to_be_focused()
    choose(new, "Content", {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"})
    expect(well(new, "Content")).to_contain_text(
        "The content is no picture: it is a PDF file. Allowed are JPEG, PNG"
    )
    large = tmp_path / "a.png"
    large.write_bytes(bytes(25_100_000))
    choose(new, "Content", large)
    expect(well(new, "Content")).to_contain_text("at most 25 MB are allowed for a picture")
    assert jobs_of(site) == []


def test_labels_are_refused_at_their_place(new: Page, site: Site, visitor: Visitor):
    visitor.expects("400.*/api/v1/jobs")
    choose_both(new)
    fold(new, "More")
    new.get_by_label("Label's key").fill("Bad Key")
    start(new)
    expect(new.get_by_role("group", name="Labels")).to_contain_text("The label 'Bad Key' must be")
    expect(new.get_by_label("Label's key")).to_be_focused()


def test_a_lost_answer_makes_no_second_job(new: Page, site: Site, visitor: Visitor):
    visitor.expects("ERR_FAILED", "request failed: POST")
    keys: list[str] = []

    def lose(route: Route) -> None:
        """The first request arrives, and its answer does not."""
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    catch_jobs(new, lose)
    choose_both(new)
    fold(new, "More")
    new.get_by_label("Reuse an earlier result").uncheck()
    start(new)
    job = job_on(new, site)
    assert [one["id"] for one in jobs_of(site)] == [job["id"]]
    assert keys == [keys[0]] * 2


def test_a_service_that_is_away_is_told_of_and_the_form_stays(new: Page, site: Site, visitor: Visitor):
    visitor.expects(
        "ERR_CONNECTION_REFUSED", "request failed", "ERR_EMPTY", "ERR_CONNECTION_RESET", "ERR_SOCKET"
    )
    choose_both(new)
    site.kill()
    try:
        start(new)
        expect(new.get_by_text("trying again")).to_be_visible()
        expect(new.get_by_role("alert")).to_contain_text("The service does not answer", timeout=30_000)
        expect(new.get_by_role("button", name="Start the job")).to_be_enabled()
    finally:
        site.start()
    start(new)
    job = job_on(new, site)
    assert [one["id"] for one in jobs_of(site)] == [job["id"]]


def test_the_upload_is_seen(new: Page):
    choose_both(new)
    held: list[Route] = []
    catch_jobs(new, held.append)
    with new.expect_request(lambda request: "idempotency-key" in request.headers):
        start(new)
    expect(new.get_by_role("progressbar", name="Upload")).to_be_visible()
    expect(new.get_by_role("button", name="Start the job")).to_be_disabled()
    held[0].continue_()
    expect(new).to_have_url(re.compile("/jobs/"))


def test_a_job_is_used_again_with_one_picture_changed(site: Site, visitor: Visitor):
    first = site.submit(name="Harbour", options={"steps": 12}, labels={"series": "town"})
    page = visitor.open(f"{site.url}/new?from={first['id']}")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("12")
    expect(well(page, "Content")).to_contain_text("content.png")
    bring(page, "drop", '[data-part="style"]', CONTENT)
    expect(well(page, "Style")).to_contain_text("content.png")
    start(page)
    job = job_on(page, site)
    assert job["id"] != first["id"]
    assert job["input"]["content"]["asset_id"] == first["input"]["content"]["asset_id"]
    assert job["input"]["style"]["sha256"] == job["input"]["content"]["sha256"]
    assert (job["options"], job["labels"], job["name"]) == (first["options"], first["labels"], "Harbour")


def test_a_bad_picture_beside_a_known_one_is_refused_at_its_half(site: Site, visitor: Visitor):
    visitor.expects("422.*/api/v1/assets", "ERR_UNKNOWN|EncodingError")
    page = visitor.open(f"{site.url}/new?from={site.submit()['id']}")
    choose(page, "Style", {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    start(page)
    expect(well(page, "Style")).to_contain_text("The style is no picture: it is a text file")


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_without_scripts(site: Site, visitor: Visitor, width: int):
    visitor.expects("422.*/new")
    page = visitor.open(f"{site.url}/new", scripts=False, width=width)
    page.get_by_label("Content picture").set_input_files(CONTENT)
    page.get_by_role("radio", name="Quick").check()
    fold(page, "Options")
    page.get_by_label("Steps", exact=True).fill("9000")
    start(page)
    steps = page.get_by_label("Steps", exact=True)
    expect(steps).to_have_accessible_description(re.compile("Steps is 9000; allowed is 1 to 2000"))
    expect(well(page, "Style")).to_contain_text("Choose a style picture.")
    expect(well(page, "Content").get_by_role("img", name="Content: content.png")).to_be_visible()
    expect(page.get_by_role("radio", name="Quick")).to_be_checked()
    steps.fill("7")
    page.get_by_label("Style picture").set_input_files(STYLE)
    start(page)
    job = job_on(page, site)
    assert (job["options"]["preset"], job["options"]["steps"], job["options"]["size"]) == ("quick", 7, 256)


def test_with_the_keyboard_alone(new: Page, site: Site):
    choose_both(new)
    new.get_by_role("radio", name="Classic").focus()
    new.keyboard.press("ArrowRight")
    expect(new.get_by_role("radio", name="Quick")).to_be_checked()
    new.keyboard.press("Tab")
    new.keyboard.press("Enter")  # opens the options
    expect(new.get_by_label("Steps", exact=True)).to_be_visible()
    new.get_by_label("Steps", exact=True).focus()
    new.keyboard.press("Enter")
    assert job_on(new, site)["options"]["preset"] == "quick"

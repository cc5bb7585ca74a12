"""What there is to look at on the page of a job: comparison, film, losses; by hand and by keys."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from tests.support.visitor import DESKTOP, PHONE, Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop, encode


@pytest.fixture
def job_id(site: Site, workshop: Workshop) -> str:
    """A job that has made 40 steps, with checkpoints every 10."""
    made: str = site.submit(name="Harbour", options={"steps": 40})["id"]
    workshop.run_through(made)
    return made


@pytest.fixture
def job_page(visitor: Visitor, site: Site, job_id: str) -> Page:
    page = visitor.open(f"{site.url}/jobs/{job_id}")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    return page


def picture(page: Page) -> Locator:
    return page.locator("[data-shown] img")


def split(page: Page) -> float:
    """Return where the pictures meet, in percent of the frame, as it is drawn."""
    frame, grip = page.locator(".frame").bounding_box(), page.locator(".grip").bounding_box()
    assert frame
    assert grip
    return (grip["x"] - frame["x"]) / frame["width"] * 100


def test_a_picture_alone_stands_in_the_middle_of_its_page(visitor: Visitor, site: Site, workshop: Workshop):
    job_id = site.submit()["id"]
    workshop.run_through(job_id)
    page = visitor.open(f"{site.url}/jobs/{job_id}")
    page.get_by_role("link", name="Open the picture").click()
    box = page.evaluate("JSON.parse(JSON.stringify(document.images[0].getBoundingClientRect()))")
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    assert abs(box["left"] + box["width"] / 2 - width / 2) < 2
    assert abs(box["top"] + box["height"] / 2 - height / 2) < 2


def test_content_and_result_are_compared_by_keys_and_by_hand(job_page: Page):
    page = job_page
    page.get_by_role("link", name="Compare").click()
    slider = page.get_by_role("slider", name="Content to the left")
    expect(slider).to_have_value("50")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("55")
    expect(slider).to_have_attribute("aria-valuetext", "55 % content")
    assert split(page) == pytest.approx(55, abs=1)
    page.keyboard.press("Home")
    assert split(page) == pytest.approx(0, abs=1)
    box = page.locator(".frame").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=3)
    page.mouse.up()
    assert split(page) == pytest.approx(75, abs=1)
    expect(slider).to_be_focused()
    assert "view=compare" in page.url


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_pictures_of_other_pixels_meet_exactly(visitor: Visitor, site: Site, workshop: Workshop, width: int):
    """1000 × 255 px become 64 × 16: no shape of its own may move one picture against the other."""
    job_id = site.submit(
        content=encode(Image.new("RGB", (1000, 255), "red")), options={"size": 64, "steps": 2}
    )["id"]
    workshop.run_through(job_id, every=1)
    page = visitor.open(f"{site.url}/jobs/{job_id}?view=compare", width=width)
    expect(page.locator(".split")).to_be_visible()
    boxes = [
        page.locator(name).bounding_box() for name in (".frame", ".frame img.content", "[data-shown] img")
    ]
    assert boxes[0] == boxes[1] == boxes[2]
    assert boxes[0]
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(64 / 16, rel=0.005)
    assert boxes[0]["width"] <= width
    page.get_by_role("link", name="Content", exact=True).click()
    expect(page.locator(".split")).to_be_hidden()
    shot = Image.open(io.BytesIO(page.locator(".frame").screenshot())).convert("RGB")
    corners = [(2, 2), (shot.width - 3, 2), (2, shot.height - 3), (shot.width - 3, shot.height - 3)]
    assert [shot.getpixel(corner) for corner in corners] == [(255, 0, 0)] * 4


def test_content_and_style_are_shown_and_loaded_only_then(job_page: Page):
    page = job_page
    style = page.locator("img.style")
    expect(style).to_be_hidden()
    assert style.get_attribute("src") is None
    page.get_by_role("link", name="Style", exact=True).click()
    expect(style).to_be_visible()
    expect(picture(page)).to_be_hidden()
    page.get_by_role("link", name="Content", exact=True).click()
    expect(page.get_by_role("img", name="Content: content.png")).to_be_visible()
    expect(style).to_be_hidden()
    page.get_by_role("link", name="Result", exact=True).click()
    expect(picture(page)).to_be_visible()
    assert "view" not in page.url


def test_checkpoints_are_scrubbed_through_by_keys(job_page: Page):
    page = job_page
    scrub = page.get_by_role("slider", name="Checkpoint")
    scrub.focus()
    expect(scrub).to_have_attribute("aria-valuetext", "result")
    page.keyboard.press("ArrowLeft")
    expect(picture(page)).to_have_attribute("src", re.compile(r"/checkpoints/40$"))
    page.keyboard.press("ArrowLeft")
    expect(picture(page)).to_have_attribute("src", re.compile(r"/checkpoints/30$"))
    expect(scrub).to_have_attribute("aria-valuetext", "step 30 of 40")
    expect(page.locator("[data-caption]")).to_contain_text("Checkpoint of step 30 · total")
    expect(page.get_by_role("link", name="Step 30")).to_have_attribute("aria-current", "true")
    expect(page.locator(".shown-step")).to_be_attached()
    assert "step=30" in page.url
    page.get_by_role("link", name="Back to the newest").click()
    expect(picture(page)).to_have_attribute("src", re.compile(r"/output\?v="))
    assert "step" not in page.url


def test_a_thumbnail_is_chosen_and_compared_and_the_address_leads_back_to_it(
    job_page: Page, visitor: Visitor
):
    page = job_page
    page.get_by_role("link", name="Step 20").click()
    expect(picture(page)).to_have_attribute("src", re.compile(r"/checkpoints/20$"))
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("[data-corner]")).to_have_text("checkpoint")
    again = visitor.open(page.url)
    expect(picture(again)).to_have_attribute("src", re.compile(r"/checkpoints/20$"))
    expect(again.locator(".split")).to_be_visible()
    expect(again.get_by_role("link", name="Step 20")).to_have_attribute("aria-current", "true")
    expect(again.locator("[data-part=facts] time").first).not_to_contain_text("UTC")
    expect(again.locator("#fork-step")).to_have_value("20")


@pytest.mark.parametrize("motion", [True, False])
def test_the_film_plays_to_its_end_and_can_be_stopped(
    visitor: Visitor, site: Site, job_id: str, motion: bool
):
    page = visitor.open(f"{site.url}/jobs/{job_id}", motion=motion)
    page.evaluate(
        """() => {
          window.seen = [];
          const image = document.querySelector("[data-shown]");
          const note = () => window.seen.push(image.querySelector("img").src.split("/").at(-1).split("?")[0]);
          new MutationObserver(note).observe(image, { childList: true });
        }"""
    )
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => window.seen.at(-1) === 'output'")
    assert page.evaluate("window.seen") == ["10", "20", "30", "40", "output"]
    play = page.get_by_role("button", name="Play")
    expect(play).to_be_visible()
    play.click()
    page.get_by_role("button", name="Stop").click()
    expect(play).to_be_visible()


def test_losses_are_read_by_step_with_keys_and_pointer(job_page: Page):
    page = job_page
    plot = page.get_by_role("slider", name="Losses at a step")
    plot.focus()
    expect(plot).to_have_attribute("aria-valuemax", "40")
    # Drawn by the script, which by then knows every step and not only the last one.
    drawn = page.locator("[data-plot-field] svg[aria-hidden=true] .curve.total")
    expect(drawn).to_have_attribute("d", re.compile("L.*L"))
    page.keyboard.press("Home")
    expect(page.locator("[data-readout]")).to_have_text("step 1")
    page.keyboard.press("ArrowRight")
    expect(plot).to_have_attribute("aria-valuetext", re.compile(r"^step 2: total [\d.e]+, content "))
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * (44 + (344 - 44) * 0.5) / 360, box["y"] + 60)
    expect(page.locator("[data-readout]")).to_have_text("step 20")
    page.mouse.down()
    page.mouse.up()
    expect(picture(page)).to_have_attribute("src", re.compile(r"/checkpoints/20$"))
    page.mouse.move(0, 0)
    expect(page.locator("[data-readout]")).to_have_text("step 40")


def test_server_and_script_draw_the_same_plot(job_page: Page, visitor: Visitor, site: Site, job_id: str):
    plain = visitor.open(f"{site.url}/jobs/{job_id}", scripts=False)
    job_page.get_by_role("slider", name="Losses at a step").focus()
    expect(job_page.locator("[data-plot-field] svg")).to_have_attribute("aria-hidden", "true")
    for name in (".curve", ".grid path", ".ticks text"):
        both = [
            one.locator(f"[data-plot-field] {name}").evaluate_all(
                "(all) => all.map((e) => [e.getAttribute('class'), e.getAttribute('d'), e.textContent])"
            )
            for one in (plain, job_page)
        ]
        assert both[0] == both[1]
        assert len(both[0]) > 2


def test_the_download_is_the_result_under_the_jobs_name(job_page: Page, site: Site, job_id: str):
    with job_page.expect_download() as download:
        job_page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "Harbour.png"
    data = download.value.path().read_bytes()
    assert Image.open(io.BytesIO(data)).size == (256, 171)
    assert len(data) == site.job(job_id)["outputs"][0]["size_bytes"]


def test_a_long_job_shows_few_thumbnails_and_reaches_every_checkpoint(
    visitor: Visitor, site: Site, workshop: Workshop
):
    job_id = site.submit(options={"steps": 60, "size": 64})["id"]
    workshop.run_through(job_id, every=1)
    page = visitor.open(f"{site.url}/jobs/{job_id}")
    expect(page.locator("[data-strip] li")).to_have_count(20)
    held: list[Route] = []
    page.route("**/checkpoints", lambda route: held.append(route))
    scrub = page.get_by_role("slider", name="Checkpoint")
    with page.expect_request("**/checkpoints"):
        scrub.focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    # What was chosen before the checkpoints have come counts when they do.
    for route in held:
        route.continue_()
    expect(picture(page)).to_have_attribute("src", re.compile(r"/checkpoints/4$"))
    expect(page.locator("[data-strip] li")).to_have_count(20)

"""The strips of 'New job' in a browser: examples, recent and starred styles; with and without scripts."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from shared.clock import utc_now
from tests.browser.new_job_form import (
    CONTENT,
    DRAFT_WORKER,
    STYLE,
    choose,
    fold,
    job_on,
    jobs_of,
    make_draft,
    next_draft,
    picture_of_draft,
    sent_from,
    well,
)
from tests.support.rows import add_picture
from tests.support.visitor import DESKTOP, PHONE, Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop

OWN, EXAMPLES = "Starred and recent styles", "Example styles"


@pytest.fixture
def new(visitor: Visitor, site: Site, workshop: Workshop) -> Page:
    workshop.connect(**DRAFT_WORKER)
    return visitor.open(f"{site.url}/new")


def upload(site: Site, path: Path) -> str:
    with path.open("rb") as file:
        answer = httpx2.post(f"{site.url}/api/v1/assets", files={"file": (path.name, file)}, timeout=60)
    return str(answer.json()["id"])


def set_star(site: Site, asset_id: str) -> None:
    httpx2.put(f"{site.url}/api/v1/assets/{asset_id}/star", timeout=60).raise_for_status()


def starred(site: Site) -> list[str]:
    """Return the names of the pictures that the service has as starred."""
    answer = httpx2.get(f"{site.url}/api/v1/assets?starred=true", timeout=60).json()
    return [asset["filename"] for asset in answer["assets"]]


def own_styles(page: Page) -> Locator:
    return page.get_by_role("radiogroup", name=OWN)


def star(page: Page, name: str) -> Locator:
    """Return the star of a picture in the strip; that of the half is called style."""
    return page.get_by_role("button", name=f"Star {name}", exact=True)


def test_examples_are_a_click_each(new: Page, site: Site):
    styles = new.get_by_role("radiogroup", name=EXAMPLES)
    new.get_by_role("radio", name="Owl and moon").check()
    styles.get_by_role("radio", name="Woodcut").check()
    expect(well(new, "Content")).to_contain_text("content-owl.jpg")
    expect(styles.get_by_role("radio", name="Woodcut")).to_be_checked()
    first = next_draft(site)
    assert first["input"]["style"]["filename"] == "style-woodcut.jpg"
    make_draft(site, first)
    expect(picture_of_draft(new)).to_be_visible()
    styles.get_by_role("radio", name="Dots").check()
    second = next_draft(site)
    assert second["input"]["style"]["filename"] == "style-dots.jpg"
    expect(styles.get_by_role("radio", name="Woodcut")).not_to_be_checked()
    # What is brought from elsewhere is none of them; the same one can be had again then.
    choose(new, "Style", CONTENT)
    expect(styles.get_by_role("radio", name="Dots")).not_to_be_checked()
    make_draft(site, next_draft(site, style="content.png"))
    styles.get_by_role("radio", name="Dots").check()
    expect(well(new, "Style")).to_contain_text("style-dots.jpg")


def test_a_recent_style_is_a_click(visitor: Visitor, site: Site, workshop: Workshop):
    style = site.submit()["input"]["style"]
    workshop.connect(**DRAFT_WORKER)
    page = visitor.open(f"{site.url}/new")
    choose(page, "Content", CONTENT)
    own_styles(page).get_by_role("radio", name="style.png").check()
    expect(well(page, "Style")).to_contain_text("640 × 512 px")
    draft = next_draft(site)
    assert draft["input"]["style"]["asset_id"] == style["asset_id"]
    choose(page, "Style", CONTENT)
    expect(page.get_by_role("radio", name="style.png")).not_to_be_checked()


def test_hovering_over_styles_asks_for_nothing(visitor: Visitor, site: Site, workshop: Workshop):
    site.submit()
    workshop.connect(**DRAFT_WORKER)
    page = visitor.open(f"{site.url}/new")
    choose(page, "Content", CONTENT)
    choose(page, "Style", STYLE)
    make_draft(site, next_draft(site))
    expect(picture_of_draft(page)).to_be_visible()
    picks = [*own_styles(page).get_by_role("radio").all()]
    assert picks
    picks += page.get_by_role("radiogroup", name=EXAMPLES).get_by_role("radio").all()
    for pick in picks:  # their thumbnails come as they are scrolled to
        pick.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(f"{request.method} {request.url}"))
    for pick in picks:
        pick.hover()
    assert requests == []


def test_the_chosen_style_is_starred_and_at_hand_from_then_on(new: Page, site: Site, visitor: Visitor):
    half = star(new, "style")
    expect(half).to_be_hidden()
    expect(own_styles(new)).to_be_hidden()
    choose(new, "Style", STYLE)
    expect(half).to_have_attribute("aria-pressed", "false")
    requests = sent_from(new)
    half.click()
    expect(half).to_have_attribute("aria-pressed", "true")
    pick = own_styles(new).get_by_role("radio", name="style.png")
    expect(pick).to_be_checked()
    expect(star(new, "style.png")).to_have_attribute("aria-pressed", "true")
    assert starred(site) == ["style.png"]
    assert [request.partition("?")[0].rsplit("/", 1)[-1] for request in requests] == ["assets", "star"]
    again = visitor.open(f"{site.url}/new")
    choose(again, "Content", CONTENT)
    own_styles(again).get_by_role("radio", name="style.png").check()
    expect(star(again, "style")).to_have_attribute("aria-pressed", "true")
    assert next_draft(site)["input"]["style"]["filename"] == "style.png"


def test_a_star_makes_no_draft_anew(new: Page, site: Site):
    choose(new, "Content", CONTENT)
    choose(new, "Style", STYLE)
    make_draft(site, next_draft(site))
    expect(picture_of_draft(new)).to_be_visible()
    requests = sent_from(new)
    star(new, "style").click()
    expect(star(new, "style.png")).to_have_attribute("aria-pressed", "true")
    star(new, "style").click()
    expect(star(new, "style.png")).to_have_attribute("aria-pressed", "false")
    assert [request.split()[0] for request in requests] == ["PUT", "DELETE"]
    expect(picture_of_draft(new)).to_be_visible()
    assert starred(site) == []


def test_stars_of_the_strip_by_keyboard_and_the_half_follows(
    visitor: Visitor, site: Site, workshop: Workshop
):
    site.submit()
    set_star(site, upload(site, CONTENT))
    page = visitor.open(f"{site.url}/new")
    names = [radio.get_attribute("aria-label") for radio in own_styles(page).get_by_role("radio").all()]
    assert names == ["content.png", "style.png"]
    own_styles(page).get_by_role("radio", name="style.png").check()
    half = star(page, "style")
    expect(half).to_have_attribute("aria-pressed", "false")
    star(page, "style.png").focus()
    page.keyboard.press("Enter")
    expect(star(page, "style.png")).to_have_attribute("aria-pressed", "true")
    expect(star(page, "style.png")).to_be_focused()
    expect(half).to_have_attribute("aria-pressed", "true")
    assert sorted(starred(site)) == ["content.png", "style.png"]
    page.keyboard.press("Space")
    expect(half).to_have_attribute("aria-pressed", "false")
    # Another one has a star of its own; and it goes where the picture goes.
    own_styles(page).get_by_role("radio", name="content.png").check()
    expect(half).to_have_attribute("aria-pressed", "true")
    choose(page, "Content", STYLE)
    page.get_by_role("button", name="Swap content and style").click()
    expect(half).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Swap content and style").click()
    expect(half).to_have_attribute("aria-pressed", "true")
    assert starred(site) == ["content.png"]
    expect(page).to_have_url(f"{site.url}/new")


def test_the_style_of_a_job_that_is_used_again_has_its_star(visitor: Visitor, site: Site):
    job = site.submit()
    set_star(site, job["input"]["style"]["asset_id"])
    page = visitor.open(f"{site.url}/new?from={job['id']}")
    expect(star(page, "style")).to_have_attribute("aria-pressed", "true")
    expect(own_styles(page).get_by_role("radio", name="style.png")).to_be_checked()
    star(page, "style").click()
    expect(star(page, "style.png")).to_have_attribute("aria-pressed", "false")
    assert starred(site) == []


def test_a_star_too_many_is_said_at_the_half(new: Page, site: Site, visitor: Visitor):
    visitor.expects("409.*/star")
    with site.services.backend.database.write() as session:
        for number in range(site.settings.max_stars):
            add_picture(session, now=utc_now(), sha256=f"{number:064}").starred_at = utc_now()
    choose(new, "Style", STYLE)
    star(new, "style").click()
    expect(well(new, "Style")).to_contain_text("100 of your pictures are starred; at most 100 may be.")
    expect(star(new, "style")).to_have_attribute("aria-pressed", "false")
    expect(well(new, "Style")).to_contain_text("style.png")


def test_a_picture_that_is_gone_by_then_is_sent_again_or_said(new: Page, site: Site, visitor: Visitor):
    visitor.expects("404.*/assets/", "status of 404")
    choose(new, "Style", STYLE)
    star(new, "style").click()
    expect(star(new, "style")).to_have_attribute("aria-pressed", "true")
    star(new, "style").click()
    expect(star(new, "style")).to_have_attribute("aria-pressed", "false")
    forget_assets(site)
    star(new, "style").click()
    expect(star(new, "style")).to_have_attribute("aria-pressed", "true")
    assert starred(site) == ["style.png"]
    forget_assets(site)
    own_styles(new).get_by_role("radio").last.check()
    star(new, "style").click()
    expect(well(new, "Style")).to_contain_text("There is no asset with the id")


def forget_assets(site: Site) -> None:
    """Remove all pictures that the service has, as the pruner would after a day."""
    for asset in httpx2.get(f"{site.url}/api/v1/assets", timeout=60).json()["assets"]:
        with site.services.backend.database.write() as session:
            session.connection().exec_driver_sql("DELETE FROM assets WHERE id = ?", (asset["id"],))


@pytest.mark.parametrize("scripts", [True, False])
def test_the_enter_key_in_a_field_starts_the_job_and_sets_no_star(
    visitor: Visitor, site: Site, workshop: Workshop, scripts: bool
):
    before = site.submit()
    page = visitor.open(f"{site.url}/new?from={before['id']}", scripts=scripts)
    fold(page, "More")
    page.get_by_label("Name").fill("Harbour")
    page.get_by_label("Reuse an earlier result").uncheck()
    page.get_by_label("Name").press("Enter")
    job = job_on(page, site)
    assert (job["name"], job["kind"]) == ("Harbour", "job")
    assert starred(site) == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_without_scripts_everything_in_the_strips_can_be_picked(site: Site, visitor: Visitor, width: int):
    page = visitor.open(f"{site.url}/new", scripts=False, width=width)
    page.get_by_role("radio", name="Owl and moon").check()
    page.get_by_role("radio", name="Woodcut").check()
    page.get_by_role("radio", name="Dots").check()
    for words in page.locator(".picks noscript p").all():
        expect(words).to_be_visible()
        expect(words).to_have_text("One of these is taken unless you choose a file above.")
    page.get_by_role("button", name="Make a draft").click()
    draft = job_on(page, site)
    assert [draft["input"][part]["filename"] for part in ("content", "style")] == [
        "content-owl.jpg",
        "style-dots.jpg",
    ]


def test_without_scripts_a_file_goes_before_a_pick(site: Site, visitor: Visitor):
    page = visitor.open(f"{site.url}/new", scripts=False)
    page.get_by_role("radio", name="Owl and moon").check()
    page.get_by_label("Style picture").set_input_files(STYLE)
    page.get_by_role("radio", name="Woodcut").check()
    page.get_by_role("button", name="Start the job").click()
    job = job_on(page, site)
    assert job["input"]["style"]["filename"] == "style.png"
    assert jobs_of(site) == [job]


def test_without_scripts_a_star_is_set_and_nothing_chosen_is_lost(site: Site, visitor: Visitor):
    site.submit()
    page = visitor.open(f"{site.url}/new", scripts=False)
    page.get_by_label("Content picture").set_input_files(STYLE)
    page.get_by_role("radio", name="style.png").check()
    star(page, "style.png").click()
    expect(star(page, "style.png")).to_have_attribute("aria-pressed", "true")
    expect(star(page, "style")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("radio", name="style.png")).to_be_checked()
    assert starred(site) == ["style.png"]
    star(page, "style").click()
    expect(star(page, "style.png")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Start the job").click()
    job = job_on(page, site)
    assert re.search("style", job["input"]["content"]["filename"])
    assert starred(site) == []

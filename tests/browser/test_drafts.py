"""Drafts in a browser: they come by themselves, follow what is chosen, are kept, and hinder no job."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.new_job_form import (
    CONTENT,
    DRAFT_WORKER,
    STYLE,
    choose,
    choose_both,
    fold,
    job_on,
    jobs_of,
    make_draft,
    next_draft,
    picture_of_draft,
    sent_from,
    start,
    well,
)
from tests.support.visitor import DESKTOP, PHONE, Visitor
from tests.support.waiting import wait_until
from tests.support.website import Site
from tests.support.workshop import Workshop


@pytest.fixture
def new(visitor: Visitor, site: Site, workshop: Workshop) -> Page:
    workshop.connect(**DRAFT_WORKER)
    return visitor.open(f"{site.url}/new")


def test_the_draft_comes_by_itself_and_says_what_made_it(new: Page, site: Site):
    part = new.get_by_role("region", name="Draft")
    expect(part).to_contain_text("as soon as both pictures are there")
    expect(part.get_by_role("button", name="Keep this")).to_be_disabled()
    choose_both(new)
    expect(part).to_contain_text("Making the draft")
    draft = next_draft(site)
    assert draft["options"] == {"method": "fast", "size": 512, "style_strength": 1, "detail": 1024}
    make_draft(site, draft)
    expect(part.get_by_role("img", name="Draft of content.png in the style of style.png")).to_be_visible()
    expect(part).to_contain_text("Made in 0.7 s by magenta-int8, trained.")
    slider = part.get_by_role("slider", name="Content to the left, draft to the right")
    slider.focus()
    new.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "100 % content")
    assert jobs_of(site) == []


def test_another_style_replaces_the_draft_and_a_late_answer_is_ignored(new: Page, site: Site):
    choose_both(new)
    first = next_draft(site)
    choose(new, "Style", CONTENT)
    second = next_draft(site, style="content.png")
    assert site.job(first["id"])["status"] == "canceled"
    make_draft(site, second)
    expect(picture_of_draft(new)).to_have_attribute("src", re.compile(second["id"]))
    assert second["input"]["style"]["sha256"] == second["input"]["content"]["sha256"]
    # Back to the first one: of the same pictures a draft is there already.
    choose(new, "Style", STYLE)
    third = next_draft(site, style="style.png")
    make_draft(site, third)
    expect(picture_of_draft(new)).to_have_attribute("src", re.compile(third["id"]))
    choose(new, "Style", CONTENT)
    expect(new.locator("[data-draft-words]")).to_have_text("Made before by magenta-int8, trained.")


def test_an_answer_that_comes_late_is_no_draft_of_what_is_chosen_now(new: Page, site: Site):
    held: list[Route] = []
    new.route("**/api/v1/jobs", lambda route: held.append(route) if not held else route.continue_())
    with new.expect_request("**/api/v1/jobs"):
        choose_both(new)
    choose(new, "Style", CONTENT)
    expect(well(new, "Style")).to_contain_text("content.png")
    # The second one is sent when it is known what it replaces.
    with new.expect_response(lambda answer: "replaces" in (answer.request.post_data or "")):
        held[0].continue_()
    second = next_draft(site, style="content.png")
    make_draft(site, second)
    expect(picture_of_draft(new)).to_have_attribute("src", re.compile(second["id"]))
    assert {one["status"] for one in jobs_of(site, "draft")} == {"succeeded", "canceled"}


def test_options_that_matter_make_another_draft_and_others_do_not(new: Page, site: Site):
    choose_both(new)
    first = next_draft(site)
    make_draft(site, first)
    expect(picture_of_draft(new)).to_be_visible()
    fold(new, "Options")
    new.get_by_label("Steps", exact=True).fill("12")
    new.get_by_label("Size (px)").fill("128")
    second = next_draft(site)
    assert second["options"]["size"] == 128
    make_draft(site, second)
    expect(picture_of_draft(new)).to_have_attribute("src", re.compile(second["id"]))
    fold(new, "Strength and detail")
    new.get_by_label("Style strength", exact=True).fill("0.5")
    third = next_draft(site)
    assert third["options"]["style_strength"] == 0.5
    make_draft(site, third)
    expect(picture_of_draft(new)).to_have_attribute("src", re.compile(third["id"]))
    assert len(jobs_of(site, "draft")) == 3
    start(new)
    job = job_on(new, site)
    assert (job["options"]["steps"], job["options"]["init"]) == (12, "fast")
    assert (job["options"]["style_strength"], job["options"]["size"]) == (0.5, 128)


def test_the_pictures_are_sent_once_for_drafts_and_the_job(new: Page, site: Site):
    requests = sent_from(new)
    choose_both(new)
    make_draft(site, next_draft(site))
    expect(picture_of_draft(new)).to_be_visible()
    start(new)
    job_on(new, site)
    assert requests == ["POST /assets", "POST /assets", "POST /jobs", "POST /jobs"]


def test_a_draft_is_kept_without_computing_again(new: Page, site: Site):
    choose_both(new)
    draft = next_draft(site)
    make_draft(site, draft)
    new.get_by_role("button", name="Keep this").click()
    assert job_on(new, site)["id"] == draft["id"]
    expect(new.get_by_text("unless you keep it")).to_have_count(0)
    new.goto(site.url)
    expect(new.locator(f'[data-job="{draft["id"]}"], a[href$="{draft["id"]}"]').first).to_be_visible()


def test_the_job_starts_from_the_draft_with_its_strength(new: Page, site: Site):
    choose_both(new)
    make_draft(site, next_draft(site))
    expect(new.get_by_label("Start the job from the draft")).to_be_checked()
    expect(new.get_by_text("The job goes on from the draft that is shown")).to_be_visible()
    fold(new, "Strength and detail")
    new.get_by_label("Style strength", exact=True).fill("0.5")
    start(new)
    job = job_on(new, site)
    assert (job["options"]["init"], job["options"]["style_strength"]) == ("fast", 0.5)


def test_whoever_unticks_starts_from_the_content(new: Page, site: Site):
    box = new.get_by_label("Start the job from the draft")
    choose_both(new)
    make_draft(site, next_draft(site))
    expect(box).to_be_checked()
    box.uncheck()
    choose(new, "Style", CONTENT)
    second = next_draft(site, style="content.png")
    make_draft(site, second)
    expect(picture_of_draft(new)).to_have_attribute("src", re.compile(second["id"]))
    expect(new.locator("[data-draft-words]")).to_contain_text("Made in")
    start(new)
    assert job_on(new, site)["options"]["init"] == "content"


def test_other_pictures_start_from_the_content_until_their_draft_is_there(new: Page, site: Site):
    box = new.get_by_label("Start the job from the draft")
    choose_both(new)
    make_draft(site, next_draft(site))
    expect(box).to_be_checked()
    choose(new, "Style", CONTENT)
    expect(box).not_to_be_checked()
    make_draft(site, next_draft(site, style="content.png"))
    expect(box).to_be_checked()


def test_a_job_used_again_keeps_what_it_began_with(new: Page, site: Site):
    earlier = site.submit()
    new.goto(f"{site.url}/new?from={earlier['id']}")
    make_draft(site, next_draft(site))
    expect(picture_of_draft(new)).to_be_visible()
    start(new)
    assert job_on(new, site)["options"]["init"] == "content"


def test_no_worker_for_drafts_is_said_and_hinders_nothing(visitor: Visitor, site: Site, workshop: Workshop):
    workshop.connect()
    page = visitor.open(f"{site.url}/new")
    choose_both(page)
    expect(page.get_by_role("region", name="Draft")).to_contain_text(
        "No worker that is connected serves the method 'fast'"
    )
    expect(page.get_by_label("Start the job from the draft")).not_to_be_checked()
    start(page)
    job = job_on(page, site)
    assert (job["kind"], job["options"]["init"]) == ("job", "content")


def test_without_a_model_the_page_says_what_to_install(visitor: Visitor, site: Site, workshop: Workshop):
    visitor.expects("422.*/api/v1/jobs")
    why = "the package with the model is not installed"
    workshop.connect(not_served={"fast": why})
    page = visitor.open(f"{site.url}/new")
    choose_both(page)
    expect(page.get_by_role("region", name="Draft")).to_contain_text(why)
    start(page)
    job = job_on(page, site)
    assert (job["kind"], job["options"]["init"]) == ("job", "content")


def test_a_refusal_is_said_and_hinders_nothing(new: Page, site: Site, visitor: Visitor):
    visitor.expects("429.*/api/v1/jobs")
    for number in range(site.settings.max_drafts):
        site.submit(kind="draft", options={"size": 64 + number})
    choose_both(new)
    part = new.get_by_role("region", name="Draft")
    expect(part).to_contain_text("8 of your drafts are under way; at most 8 may be at once.")
    start(new)
    assert job_on(new, site)["kind"] == "job"


def test_a_draft_that_fails_says_why(new: Page, site: Site, workshop: Workshop):
    choose_both(new)
    draft = next_draft(site)
    workshop.claim(draft["id"], worker_id="drafts")
    workshop.fail(draft["id"])
    expect(new.get_by_role("region", name="Draft")).to_contain_text("memory")
    expect(new.get_by_role("button", name="Keep this")).to_be_disabled()


def test_a_job_does_not_wait_for_a_draft(new: Page, site: Site):
    choose_both(new)
    next_draft(site)
    start(new)
    assert job_on(new, site)["kind"] == "job"


def test_a_picture_that_is_removed_takes_its_draft_with_it(new: Page, site: Site):
    choose_both(new)
    draft = next_draft(site)
    well(new, "Style").get_by_role("button", name="Remove").click()
    expect(new.get_by_role("region", name="Draft")).to_contain_text("as soon as both pictures are there")
    wait_until(lambda: site.job(draft["id"])["status"] == "canceled", seconds=60)


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_without_scripts_a_button_makes_a_draft_and_another_keeps_it(
    site: Site, visitor: Visitor, workshop: Workshop, width: int
):
    style = site.submit()["input"]["style"]
    page = visitor.open(f"{site.url}/new", scripts=False, width=width)
    page.get_by_label("Content picture").set_input_files(CONTENT)
    page.get_by_role("radio", name="style.png").check()
    page.get_by_role("button", name="Make a draft").click()
    draft = job_on(page, site)
    assert (draft["kind"], draft["input"]["style"]["asset_id"]) == ("draft", style["asset_id"])
    make_draft(site, draft)
    page.reload()
    expect(page.get_by_text("unless you keep it")).to_be_visible()
    page.get_by_role("button", name="Keep this").click()
    expect(page.get_by_text("unless you keep it")).to_have_count(0)
    assert draft["id"] in {job["id"] for job in jobs_of(site)}


def test_a_draft_is_kept_on_its_own_page(site: Site, visitor: Visitor):
    draft = site.submit(kind="draft")
    make_draft(site, draft)
    page = visitor.open(f"{site.url}/jobs/{draft['id']}")
    expect(page.get_by_text("unless you keep it")).to_be_visible()
    page.get_by_role("button", name="Keep this").click()
    expect(page.get_by_text("unless you keep it")).to_have_count(0)
    expect(page.get_by_role("button", name="Keep this")).to_have_count(0)

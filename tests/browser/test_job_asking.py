"""What is asked of a job on its page, without leaving it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from shared.redis.live import Flag
from tests.support.visitor import Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop


@pytest.fixture
def job_id(site: Site, workshop: Workshop) -> str:
    workshop.connect()
    made: str = site.submit(name="Harbour", options={"steps": 40})["id"]
    return made


def see(visitor: Visitor, site: Site, job_id: str) -> Page:
    page = visitor.open(f"{site.url}/jobs/{job_id}")
    page.evaluate("window.isTheSame = true")
    return page


def status(page: Page, word: str) -> None:
    expect(page.locator(".badge").first).to_have_text(word)


def test_pause_resume_cancel_retry_without_leaving(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    workshop.claim(job_id)
    page = see(visitor, site, job_id)
    pause = page.get_by_role("button", name="Pause")
    pause.focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-part=standing]")).to_contain_text("Pausing")
    expect(pause).to_have_count(0)
    assert site.services.backend.redis.flags.read(job_id, 1) is Flag.PAUSE
    # The button that was pressed is gone; the focus is with what took its place.
    assert page.evaluate("document.activeElement.closest('[data-part]')?.dataset.part") == "actions"
    workshop.checkpoint(job_id, 10)
    workshop.pause(job_id, 10)
    status(page, "paused")
    expect(page).to_have_title("25 % · Harbour · Atelier")
    page.get_by_role("button", name="Resume").click()
    status(page, "queued")
    page.get_by_role("button", name="Cancel").click()
    status(page, "canceled")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    page.get_by_role("button", name="Retry from step 10").click()
    status(page, "queued")
    assert page.evaluate("window.isTheSame")
    assert site.job(job_id)["attempt"]["number"] == 3


def test_retry_from_zero_forgets_the_checkpoints(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 10)
    workshop.fail(job_id)
    page = see(visitor, site, job_id)
    page.get_by_role("link", name="Step 10").click()
    expect(page.locator("[data-shown] img")).to_have_attribute("src", re.compile("checkpoints/10$"))
    page.get_by_role("button", name="Retry from zero").click()
    status(page, "queued")
    expect(page.get_by_role("link", name="Step 10")).to_have_count(0)
    expect(page.locator("[data-reel-empty]")).to_be_visible()
    expect(page.locator("[data-step]").first).to_have_text("step 0 of 40")
    assert "step" not in page.url.split("?")[-1]


def test_an_extension_is_refused_at_its_field_and_then_granted(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    visitor.expects("422", "400")
    workshop.run_through(job_id, every=20)
    page = see(visitor, site, job_id)
    page.locator("#extend summary").click()
    field = page.get_by_label("Steps more")
    expect(field).to_have_value("50")
    field.fill("1961")
    # The browser's own check would not even ask.
    page.evaluate("document.querySelector('#extend form').noValidate = true")
    page.locator("#extend").get_by_role("button", name="Extend").click()
    expect(page.locator("#extend-fault")).to_contain_text("1961 more would be 2001 steps")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("20")
    page.keyboard.press("Enter")
    status(page, "queued")
    expect(page.locator("#extend")).to_have_count(0)
    expect(page.locator("[data-step]").first).to_have_text("step 40 of 60")
    expect(page.locator("[data-part=options]")).to_contain_text("60")
    expect(page.get_by_role("link", name="Download the result so far")).to_be_visible()
    assert page.evaluate("window.isTheSame")
    # The curve goes on to the right of what it was.
    expect(page.locator("[data-plot-field] .ticks")).to_contain_text("60")


def test_a_fork_from_the_checkpoint_that_is_shown(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    visitor.expects("422")
    workshop.run_through(job_id)
    page = see(visitor, site, job_id)
    page.get_by_role("link", name="Step 20").click()
    page.get_by_role("link", name="Fork from here").click()
    fork = page.locator("#fork")
    expect(fork.get_by_label("From the checkpoint of step")).to_have_value("20")
    fork.get_by_label("Steps", exact=True).fill("20")
    fork.get_by_role("button", name="Start the fork").click()
    expect(page.locator("#fork-steps-fault")).to_contain_text("it must be more than 20")
    expect(fork.get_by_label("Steps", exact=True)).to_be_focused()
    fork.get_by_label("Steps", exact=True).fill("44")
    fork.get_by_label("Style weight").fill("0.5")
    fork.get_by_label("Name").fill("Bolder harbour")
    fork.get_by_role("button", name="Start the fork").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Bolder harbour")
    made = site.job(page.url.split("/")[-1].split("?")[0])
    assert made["origin"] == {"job_id": job_id, "step": 20}
    assert made["options"] == {**site.job(job_id)["options"], "steps": 44, "style_weight": 0.5}
    page.get_by_role("link", name="another job").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Harbour")


def test_the_form_to_fork_comes_with_the_first_checkpoint(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    page = see(visitor, site, job_id)
    workshop.claim(job_id)
    status(page, "running")
    expect(page.locator("#fork")).to_be_hidden()
    workshop.checkpoint(job_id, 10)
    page.get_by_role("link", name="Fork", exact=True).click()
    expect(page.locator("#fork").get_by_label("From the checkpoint of step")).to_be_visible()
    assert page.evaluate("window.isTheSame")


def test_the_checkpoint_that_is_shown_stays_the_one_to_fork(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 10)
    page = see(visitor, site, job_id)
    expect(page.locator("[data-connection]")).to_have_text("live")
    page.get_by_role("link", name="Step 10").click()
    workshop.checkpoint(job_id, 20, after=10)
    expect(page.locator("#fork-step option")).to_have_text(["10", "20"])
    expect(page.locator("#fork-step")).to_have_value("10")


def test_what_somebody_types_stays_while_the_job_goes_on(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 10)
    page = see(visitor, site, job_id)
    expect(page.locator("[data-connection]")).to_have_text("live")
    page.get_by_role("link", name="Fork", exact=True).click()
    name = page.locator("#fork").get_by_label("Name")
    name.fill("Half a na")
    workshop.checkpoint(job_id, 20, after=10)
    expect(page.get_by_role("link", name="Step 20")).to_be_visible()
    expect(page.locator("[data-part=history]")).to_contain_text("2 checkpoints")
    expect(name).to_have_value("Half a na")
    expect(name).to_be_focused()


def test_a_job_is_deleted_only_when_it_is_confirmed(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    workshop.run_through(job_id, every=20)
    page = see(visitor, site, job_id)
    page.locator("#delete summary").focus()
    page.keyboard.press("Enter")
    sure = page.get_by_role("button", name="Delete for ever")
    expect(sure).to_be_visible()
    page.keyboard.press("Escape")
    expect(sure).to_be_hidden()
    expect(page.locator("#delete summary")).to_be_focused()
    page.keyboard.press("Enter")
    sure.click()
    expect(page.get_by_role("status").filter(has_text="The job is deleted")).to_be_visible()
    expect(page.get_by_text("Harbour")).to_have_count(0)


def test_what_is_not_legal_any_more_is_said_and_the_page_follows(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    visitor.expects("409", "429")
    # Without a stream the page does not know yet that the job is canceled.
    page = visitor.open("about:blank")
    page.route("**/events", lambda route: route.fulfill(status=429))
    page.goto(f"{site.url}/jobs/{job_id}")
    expect(page.locator("[data-connection]")).to_have_text("polling")
    page.route(re.compile(rf"/api/v1/jobs/{job_id}$"), lambda route: route.abort())
    workshop.claim(job_id)
    workshop.succeed(job_id)
    visitor.expects("Failed to load resource", "request failed")
    page.get_by_role("button", name="Pause").click()
    refusal = page.get_by_role("alert").filter(has_text="the job is succeeded")
    expect(refusal).to_contain_text("allowed now: extend, fork, delete")
    page.unroute(re.compile(rf"/api/v1/jobs/{job_id}$"))
    status(page, "succeeded")


def test_somebody_who_asked_for_it_is_notified_at_the_end(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    page = visitor.open("about:blank")
    page.add_init_script(
        """window.told = [];
        window.Notification = class {
          static permission = sessionStorage.getItem("permission") ?? "default";
          static async requestPermission() {
            sessionStorage.setItem("permission", "granted");
            return (this.permission = "granted");
          }
          constructor(title) { window.told.push(title); }
          addEventListener() {}
        };"""
    )
    page.goto(f"{site.url}/jobs/{job_id}")
    button = page.get_by_role("button", name="Notify me")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "true")
    workshop.run_through(job_id, every=20)
    status(page, "succeeded")
    expect(button).to_be_hidden()
    assert page.evaluate("window.told") == ["Harbour: succeeded"]


def test_a_waiting_job_is_changed_without_leaving(
    visitor: Visitor, site: Site, job_id: str, workshop: Workshop
):
    visitor.expects("422", "400")
    other = site.submit(name="Other", options={"steps": 40}, reuse="false")["id"]
    page = see(visitor, site, other)
    expect(page.locator("[data-part=standing]")).to_contain_text("1 job ahead")
    page.locator("#change summary").click()
    expect(page.get_by_label("Priority")).to_have_value("5")
    page.get_by_label("Labels").fill("Not:small")
    page.locator("#change").get_by_role("button", name="Change").click()
    expect(page.get_by_role("alert")).to_contain_text("each a small letter")
    page.get_by_label("Labels").fill("project:sea\nkind: night ")
    page.get_by_label("Priority").select_option("9")
    page.get_by_label("Name", exact=True).first.fill("Pier")
    page.locator("#change").get_by_role("button", name="Change").click()
    expect(page.locator("[data-part=facts]")).to_contain_text("project:sea")
    expect(page.locator("[data-part=standing]")).to_contain_text("Next in line")
    expect(page.locator("#change")).not_to_have_attribute("open", "")
    shown = site.job(other)
    assert (shown["priority"], shown["labels"]) == (9, {"kind": "night", "project": "sea"})
    assert shown["queue"]["position"] == 1
    assert page.evaluate("window.isTheSame")
    # What the form does not change others may have changed meanwhile.
    workshop.claim(other)
    expect(page.locator("#change")).to_have_count(0)

"""The page of a job in a browser whose scripts are switched off."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.support.visitor import Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop


def test_everything_works_without_scripts(visitor: Visitor, site: Site, workshop: Workshop):
    job_id = site.submit(name="Harbour", options={"steps": 40})["id"]
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 10)
    workshop.progress(job_id, 12)
    page = visitor.open(f"{site.url}/jobs/{job_id}", scripts=False)
    expect(page.get_by_text("step 12 of 40")).to_be_visible()
    expect(page.locator("[data-plot-field] .curve.total")).to_be_visible()
    page.get_by_role("link", name="Step 10").click()
    expect(page.get_by_role("img", name="Checkpoint of Harbour, step 10")).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("img", name="Content: content.png")).to_be_visible()
    expect(page.get_by_role("img", name="Checkpoint of Harbour, step 10")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    workshop.pause(job_id, 10)
    page.get_by_role("link", name="Result", exact=True).click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".badge").first).to_have_text("queued")
    page.locator("#change summary").click()
    page.get_by_label("Priority").select_option("2")
    page.get_by_label("Labels").fill("project:sea")
    page.locator("#change").get_by_role("button", name="Change").click()
    expect(page.locator("[data-part=facts]")).to_contain_text("project:sea")
    assert (site.job(job_id)["priority"], site.job(job_id)["name"]) == (2, "Harbour")
    workshop.claim(job_id, resumed_from_step=10)
    workshop.checkpoint(job_id, 40, after=10)
    workshop.succeed(job_id)
    page.reload()
    page.locator("#extend summary").click()
    page.get_by_label("Steps more").fill("10")
    page.locator("#extend").get_by_role("button", name="Extend").click()
    expect(page.get_by_text("step 40 of 50")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.locator("#delete summary").click()
    page.get_by_role("button", name="Delete for ever").click()
    expect(page.get_by_text("The job is deleted")).to_be_visible()

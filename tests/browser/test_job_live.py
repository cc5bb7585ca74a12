"""The page of a job while things happen to it: it follows, without a reload and without jumping."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from shared.errors import OutOfMemory
from tests.support.visitor import Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop

_THREE = (("first", 40), ("second", 41), ("third", 42))


@pytest.fixture
def job_id(site: Site) -> str:
    made: str = site.submit(name="Harbour", options={"steps": 40})["id"]
    return made


@pytest.fixture
def job_page(visitor: Visitor, site: Site, job_id: str) -> Page:
    page = visitor.open(f"{site.url}/jobs/{job_id}")
    expect(page.locator("[data-connection]")).to_have_text("live")
    # Were the page loaded again, this would be gone.
    page.evaluate("window.isTheSame = true")
    return page


def shown(page: Page) -> str:
    """Return the address of the picture on the stage."""
    source = page.locator("[data-shown] img").get_attribute("src")
    assert source
    return source


def test_from_queued_to_succeeded(job_page: Page, job_id: str, workshop: Workshop):
    page = job_page
    standing, stage = page.locator("[data-part=standing]"), page.locator("[data-shown] img")
    expect(standing).to_contain_text("No worker is connected")
    expect(page).to_have_title("Queued · Harbour · Atelier")
    workshop.connect()
    workshop.claim(job_id)
    expect(standing).to_contain_text("On gpu-a (cuda:0).")
    expect(page.locator("#announcer")).to_have_text("The job is running.")
    pictures = set()
    for step in (4, 9, 12):
        workshop.progress(job_id, step)
        expect(page.locator("[data-step]").first).to_have_text(f"step {step} of 40")
        expect(stage).to_have_attribute("src", re.compile(rf"/preview\?step={step}$"))
        expect(stage).to_have_js_property("complete", True)
        pictures.add(shown(page))
        expect(page.locator("[data-readout]")).to_have_text(f"step {step}")
        expect(page.locator("[data-caption]")).to_have_text(f"Preview at step {step}")
    assert len(pictures) == 3
    expect(page.locator("[data-progress] [data-left]")).to_have_text("7 s left")
    expect(page.locator("[data-speed]")).to_have_text("4.0 steps/s")
    expect(page).to_have_title("30 % · Harbour · Atelier")
    expect(page.locator("#announcer")).to_have_text("25 % done")
    workshop.checkpoint(job_id, 20)
    expect(page.get_by_role("link", name="Step 20")).to_be_visible()
    expect(page.locator("[data-part=history]")).to_contain_text("checkpoint of step 20")
    workshop.succeed(job_id)
    expect(standing).to_contain_text("Done in 13 s.")
    expect(stage).to_have_attribute("src", re.compile(r"/output\?v="))
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    expect(page).to_have_title("Succeeded · Harbour · Atelier")
    expect(page.locator("#announcer")).to_have_text("The job is succeeded.")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    assert page.evaluate("window.isTheSame")


def test_nothing_jumps_while_previews_and_checkpoints_arrive(job_page: Page, job_id: str, workshop: Workshop):
    workshop.connect()
    workshop.claim(job_id)
    expect(job_page.locator("[data-part=standing]")).to_contain_text("On gpu-a")
    job_page.evaluate("takeShift()")
    job_page.evaluate(
        """() => {
          window.unready = 0;
          const stage = document.querySelector("[data-shown]");
          const isReady = (image) => image.complete && image.naturalWidth > 0;
          const look = () => {
            window.unready += [...stage.children].filter((image) => !isReady(image)).length;
          };
          new MutationObserver(look).observe(stage, { childList: true, attributes: true, subtree: true });
        }"""
    )
    for step in (5, 10, 15, 20):
        workshop.progress(job_id, step)
        workshop.checkpoint(job_id, step, after=step - 5)
        expect(job_page.locator("[data-shown] img")).to_have_attribute("src", re.compile(rf"step={step}$"))
        expect(job_page.get_by_role("link", name=f"Step {step}", exact=True)).to_be_attached()
    assert job_page.evaluate("takeShift()") < 0.01
    # A picture is decoded before it takes the place of the one before: nothing flickers.
    assert job_page.evaluate("window.unready") == 0


def test_a_failure_says_what_to_do_with_retry_beside_it(job_page: Page, job_id: str, workshop: Workshop):
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 10)
    workshop.fail(job_id, OutOfMemory("the picture needs 9.1 GB; cuda:0 has 7.8 GB"))
    error = job_page.locator("[data-part=error]")
    expect(error).to_contain_text("The device has not enough memory")
    expect(error).to_contain_text("The picture needs 9.1 GB; cuda:0 has 7.8 GB.")
    expect(error).to_contain_text("Submit it again with a smaller size.")
    expect(job_page.locator("#announcer")).to_contain_text("failed. The device has not enough memory")
    error.get_by_role("button", name="Retry from step 10").click()
    expect(error).to_be_empty()
    expect(job_page.locator(".badge").first).to_have_text("queued")
    expect(job_page.locator("[data-part=attempts]")).to_contain_text("failed")


def test_a_lost_worker_is_told_and_its_live_steps_are_taken_back(
    job_page: Page, job_id: str, workshop: Workshop
):
    workshop.claim(job_id)
    workshop.checkpoint(job_id, 10)
    workshop.progress(job_id, 17)
    expect(job_page.locator("[data-readout]")).to_have_text("step 17")
    workshop.release(job_id, 10)
    expect(job_page.locator("[data-part=standing]")).to_contain_text("Its worker was shut down")
    expect(job_page.locator("[data-readout]")).to_have_text("step 10")
    expect(job_page.locator("[data-part=attempts]")).to_contain_text("given back: the worker was shut down")


def test_a_restart_of_the_web_process_is_healed(
    visitor: Visitor, site: Site, job_page: Page, job_id: str, workshop: Workshop
):
    visitor.expects(
        r"ERR_CONNECTION_REFUSED",
        r"ERR_CONNECTION_RESET",
        r"ERR_INCOMPLETE_CHUNKED",
        r"ERR_EMPTY",
        r"preview.*ERR_CONTENT_LENGTH_MISMATCH",  # the kill cut off a picture on its way
    )
    workshop.claim(job_id)
    workshop.progress(job_id, 5)
    expect(job_page.locator("[data-step]").first).to_have_text("step 5 of 40")
    site.kill()
    expect(job_page.locator("[data-connection]")).to_have_text("reconnecting")
    workshop.checkpoint(job_id, 10)
    workshop.progress(job_id, 12)
    site.start()
    expect(job_page.locator("[data-connection]")).to_have_text("live")
    expect(job_page.locator("[data-step]").first).to_have_text("step 12 of 40")
    expect(job_page.get_by_role("link", name="Step 10")).to_be_visible()
    expect(job_page.locator("[data-shown] img")).to_have_attribute("src", re.compile(r"step=12$"))
    assert job_page.evaluate("window.isTheSame")


def test_a_place_in_the_queue_is_followed(visitor: Visitor, site: Site, workshop: Workshop):
    workshop.connect()
    jobs = [site.submit(name=name, options={"steps": steps})["id"] for name, steps in _THREE]
    page = visitor.open(f"{site.url}/jobs/{jobs[2]}")
    standing = page.locator("[data-part=standing]")
    expect(standing).to_contain_text("2 jobs ahead")
    # No event of this job tells of it: the page asks by itself, again and again.
    workshop.claim(jobs[0])
    expect(standing).to_contain_text("1 job ahead")
    workshop.claim(jobs[1])
    expect(standing).to_contain_text("Next in line")

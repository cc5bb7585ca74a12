"""The page of workers, live: cards follow their workers, and someone drains one."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import Page, expect
from sqlalchemy import update

from shared.clock import utc_now
from shared.redis.workers import WorkerJob, WorkerRegistry, WorkerState
from tests.support.visitor import Visitor
from tests.support.website import Site
from web.db.models import Job


def card(page: Page, worker_id: str):
    return page.locator(f'[data-worker="{worker_id}"]')


def registry_of(site: Site) -> WorkerRegistry:
    return WorkerRegistry(site.services.backend.redis.client, worker_seconds=3600)


def test_workers_come_work_and_go(site: Site, visitor: Visitor):
    page = visitor.open(f"{site.url}/workers")
    expect(page.get_by_role("heading", name="No worker is connected")).to_be_visible()
    job_id = site.submit(name="Harbour")["id"]
    expect(page.locator('[data-figure="depth"]')).to_have_text("1")

    site.workshop.connect("b")
    site.workshop.connect("a", state=WorkerState.STARTING)
    expect(page.locator("[data-worker]")).to_have_count(2)
    assert page.locator("[data-worker] h3").all_text_contents() == ["a", "b"]
    expect(page.get_by_role("heading", name="No worker is connected")).to_be_hidden()
    expect(card(page, "a").locator("[data-badge]")).to_have_text("starting")
    expect(card(page, "a").get_by_text("Loads its engine")).to_be_visible()

    site.workshop.claim(job_id, worker_id="a")
    doing = WorkerJob(job_id=job_id, attempt=1, step=10, steps=100, since=utc_now())
    height = card(page, "a").bounding_box()["height"]
    site.workshop.connect("a", state=WorkerState.BUSY, job=doing)
    expect(card(page, "a").get_by_role("link", name="Harbour")).to_have_attribute("href", f"/jobs/{job_id}")
    expect(card(page, "a").get_by_text("step 10 of 100")).to_be_visible()
    assert card(page, "a").bounding_box()["height"] == height
    picture = card(page, "a").locator("img")
    page.wait_for_function("(image) => image.naturalWidth > 0", arg=picture.element_handle())

    registry_of(site).leave("b")
    expect(card(page, "b")).to_have_count(0)
    expect(page.locator("#announcer")).to_have_text("b has ended")


def test_the_only_worker_is_drained_by_keyboard(site: Site, visitor: Visitor):
    site.workshop.connect("gpu-a")
    page = visitor.open(f"{site.url}/workers")
    page.locator("[data-drain] summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(card(page, "gpu-a").locator("[data-badge]")).to_have_text("draining")
    expect(page.locator("[data-message]")).to_contain_text("the only worker is draining")
    expect(card(page, "gpu-a").locator("h3")).to_be_focused()
    expect(page.locator("[data-drain]")).to_be_hidden()
    (worker,) = registry_of(site).alive()
    assert worker.state is WorkerState.DRAINING


def test_a_refusal_is_shown_on_its_card(site: Site, visitor: Visitor):
    visitor.expects(r"404.*/drain")
    site.workshop.connect("gpu-a")
    page = visitor.open(f"{site.url}/workers")
    page.locator("[data-drain] summary").click()
    page.route("**/api/v1/workers", lambda route: route.abort())  # the page does not learn that it is gone
    visitor.expects(r"request failed: GET .*/api/v1/workers", r"ERR_FAILED.*/api/v1/workers")
    registry_of(site).leave("gpu-a")
    page.get_by_role("button", name="Drain it now").click()
    expect(card(page, "gpu-a").get_by_role("alert")).to_contain_text("there is no worker with the id 'gpu-a'")


def test_the_page_goes_on_after_a_restart_of_the_web_process(site: Site, visitor: Visitor):
    visitor.expects("ERR_CONNECTION", "request failed", "ERR_EMPTY_RESPONSE", "ERR_SOCKET")
    page = visitor.open(f"{site.url}/workers")
    site.kill()
    expect(page.get_by_text("The service does not answer")).to_be_visible()
    site.workshop.connect("gpu-a")
    site.start()
    expect(card(page, "gpu-a")).to_be_visible()
    expect(page.get_by_text("The service does not answer")).to_be_hidden()


def test_without_scripts_a_form_drains(site: Site, visitor: Visitor):
    site.workshop.connect("gpu-a")
    page = visitor.open(f"{site.url}/workers", scripts=False)
    page.locator("[data-drain] summary").click()
    page.get_by_role("button", name="Drain it now").click()
    expect(card(page, "gpu-a").locator("[data-badge]")).to_have_text("draining")
    assert page.url == f"{site.url}/workers"


def test_nothing_moves_while_workers_work(site: Site, visitor: Visitor):
    job_id = site.submit(name="Harbour")["id"]
    site.workshop.connect("a")
    page = visitor.open(f"{site.url}/workers")
    for step in (3, 50, 100):
        doing = WorkerJob(job_id=job_id, attempt=1, step=step, steps=100, since=utc_now())
        site.workshop.connect(
            "a", state=WorkerState.BUSY, job=doing, memory_total_bytes=10**10, memory_used_bytes=step
        )
        expect(card(page, "a").get_by_text(f"step {step} of 100")).to_be_visible()
    assert page.evaluate("window.layoutShift") < 0.0001  # the edge of a badge with another word in it


def test_scripts_and_server_say_the_same(site: Site, visitor: Visitor):
    started = utc_now() - timedelta(hours=2, minutes=5)
    job_id = site.submit(name="Harbour")["id"]
    with site.services.backend.database.write() as session:
        session.execute(update(Job).values(queued_at=started))
    doing = WorkerJob(job_id=job_id, attempt=1, step=3, steps=100, since=started)
    then = {"started_at": started, "at": started}
    memory = {"memory_total_bytes": 25_300_000_000, "memory_used_bytes": 3_140_000_000}
    site.workshop.connect("a", state=WorkerState.BUSY, job=doing, host="studio", **then, **memory)
    site.workshop.connect("b", "cpu", notice="never trained", version="1.2", **then)
    site.workshop.connect("c", state=WorkerState.DRAINING, memory_total_bytes=10**9, **then)
    live = visitor.open(f"{site.url}/workers")
    with live.expect_response("**/api/v1/queue"):
        pass
    # Whatever it shows is made by the scripts from here on.
    live.evaluate("""
        const fixed = "dt, button, summary, summary *, p:not([data-line], [data-rest])";
        for (const place of document.querySelectorAll("[data-workers] *, [data-figure]"))
          if (!place.children.length && !place.matches(fixed)) place.textContent = "";
    """)
    expect(live.locator('[data-figure="depth"]')).to_have_text("1")
    plain = visitor.open(f"{site.url}/workers", scripts=False)
    for part in ("[data-workers]", ".figures"):
        told = [page.locator(part).inner_text().split() for page in (live, plain)]
        assert told[0] == told[1]
    assert live.locator("rect[data-share]").first.get_attribute("width") == plain.locator(
        "rect[data-share]"
    ).first.get_attribute("width")

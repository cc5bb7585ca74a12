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
    return WorkerRegistry(
        site.services.backend.redis.client, site.services.backend.redis.names, worker_seconds=3600
    )


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
    expect(page.locator("[data-message]")).to_contain_text("The only worker is draining")
    expect(card(page, "gpu-a").locator("h3")).to_be_focused()
    expect(page.locator("[data-drain]")).to_be_hidden()
    (worker,) = registry_of(site).alive()
    assert worker.state is WorkerState.DRAINING


def test_a_refusal_is_shown_on_its_card(site: Site, visitor: Visitor):
    visitor.expects(r"404.*/drain")
    site.workshop.connect("gpu-a")
    page = visitor.open(f"{site.url}/workers")
    page.locator("[data-drain] summary").click()
    page.route("**/parts/workers", lambda route: route.abort())  # the page does not learn that it is gone
    visitor.expects(r"request failed: GET .*/parts/workers", r"ERR_FAILED.*/parts/workers")
    registry_of(site).leave("gpu-a")
    page.get_by_role("button", name="Drain it now").click()
    expect(card(page, "gpu-a").get_by_role("alert")).to_contain_text("There is no worker 'gpu-a'")


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
    assert page.evaluate("takeShift()") < 0.0001  # the edge of a badge with another word in it


def test_a_refusal_stays_while_the_page_goes_on(site: Site, visitor: Visitor):
    visitor.expects("404.*/drain")
    site.workshop.connect("gpu-a")
    page = visitor.open(f"{site.url}/workers")
    page.locator("[data-drain] summary").click()
    page.route("**/drain", lambda route: route.fulfill(status=404, json={"detail": "It has ended."}))
    page.get_by_role("button", name="Drain it now").click()
    alert = card(page, "gpu-a").get_by_role("alert")
    expect(alert).to_have_text("It has ended.")
    site.workshop.connect("gpu-a", state=WorkerState.STARTING)
    expect(card(page, "gpu-a").get_by_text("Loads its engine")).to_be_visible()
    expect(alert).to_have_text("It has ended.")


def test_what_is_open_and_where_the_focus_is_stay(site: Site, visitor: Visitor):
    job_id = site.submit(name="Harbour")["id"]
    site.workshop.connect("b", notice="never trained")
    page = visitor.open(f"{site.url}/workers")
    card(page, "b").get_by_text("Drain …").click()
    card(page, "b").get_by_text("What to know of them").click()
    doing = WorkerJob(job_id=job_id, attempt=1, step=10, steps=100, since=utc_now())
    site.workshop.connect("b", state=WorkerState.BUSY, job=doing, notice="never trained")
    site.workshop.connect("a")
    expect(card(page, "b").get_by_role("link", name="Harbour")).to_be_visible()
    expect(page.locator("[data-worker]")).to_have_count(2)
    expect(card(page, "b").get_by_text("never trained")).to_be_visible()
    expect(card(page, "b").get_by_role("button", name="Drain it now")).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "What to know of them"
    # The focus is on what goes away: it stays at that worker.
    card(page, "b").get_by_role("link", name="Harbour").focus()
    site.workshop.connect("b", notice="never trained")
    expect(card(page, "b").get_by_text("Waits for a job")).to_be_visible()
    expect(card(page, "b").locator("h3")).to_be_focused()


def test_while_nobody_knows_the_workers_those_that_were_there_stay(site: Site, visitor: Visitor):
    site.workshop.connect("gpu-a")
    page = visitor.open(f"{site.url}/workers")
    unknown = """
      <p class="notice warning" data-part="message" data-message>Redis does not answer</p>
      <section data-part="workers" aria-labelledby="connected">
      <h2 id="connected">Connected <span class="quiet number" data-count>unknown</span></h2>
      <ul class="workers" data-workers data-kept></ul></section>"""
    page.route("**/parts/workers", lambda route: route.fulfill(body=unknown, content_type="text/html"))
    expect(page.locator("[data-count]")).to_have_text("unknown")
    expect(page.locator("#announcer")).to_have_text("Redis does not answer")
    expect(card(page, "gpu-a")).to_be_visible()
    page.unroute("**/parts/workers")
    site.workshop.connect("gpu-b")
    expect(page.locator("[data-count]")).to_have_text("2")
    expect(card(page, "gpu-b")).to_be_visible()


def test_what_the_page_says_later_is_what_it_says_anew(site: Site, visitor: Visitor):
    started = utc_now() - timedelta(hours=2, minutes=5)
    job_id = site.submit(name="Harbour")["id"]
    with site.services.backend.database.write() as session:
        session.execute(update(Job).values(queued_at=started))
    live = visitor.open(f"{site.url}/workers")
    expect(live.get_by_role("heading", name="No worker is connected")).to_be_visible()
    doing = WorkerJob(job_id=job_id, attempt=1, step=3, steps=100, since=started)
    then = {"started_at": started, "at": started}
    memory = {"memory_total_bytes": 25_300_000_000, "memory_used_bytes": 3_140_000_000}
    site.workshop.connect("a", state=WorkerState.BUSY, job=doing, host="studio", **then, **memory)
    site.workshop.connect("b", "cpu", notice="never trained", version="1.2", **then)
    site.workshop.connect("c", state=WorkerState.DRAINING, memory_total_bytes=10**9, **then)
    expect(live.locator("[data-worker]")).to_have_count(3)
    expect(live.get_by_role("heading", name="No worker is connected")).to_be_hidden()
    plain = visitor.open(f"{site.url}/workers", scripts=False)
    for part in ("[data-workers]", ".figures", "[data-message]"):
        told = [page.locator(part).evaluate("(part) => part.outerHTML") for page in (live, plain)]
        assert told[0].split() == told[1].split()
    assert "3.1 GB of 25.3 GB" in card(live, "a").inner_text()
    assert "for 2 h 5 min" in card(live, "a").inner_text()

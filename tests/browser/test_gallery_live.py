"""The gallery in a browser: cards follow their jobs, new ones are told of, nothing jumps, keys suffice."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.visitor import PHONE, Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop
from web.pages.gallery import PAGE_SIZE


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_role("link", name=name, exact=True))


def titles(page: Page) -> list[str]:
    return page.locator(".gallery h2").all_inner_texts()


def test_cards_follow_their_jobs(site: Site, workshop: Workshop, visitor: Visitor):
    workshop.connect()
    job_id = site.submit(name="Harbour")["id"]
    page = visitor.open(site.url)
    harbour = card(page, "Harbour")
    expect(harbour).to_contain_text("next in line")
    workshop.claim(job_id)
    workshop.progress(job_id, 30)
    expect(harbour.locator(".badge")).to_have_text("running")
    expect(harbour).to_contain_text("step 30 of 100, 18 s left")
    expect(harbour.get_by_role("progressbar", name="Progress of Harbour")).to_have_attribute("value", "0.3")
    expect(harbour.locator("img")).to_have_attribute("src", re.compile(r"v=1-30$"))
    expect(page.get_by_role("link", name="running 1")).to_be_visible()
    workshop.succeed(job_id)
    expect(harbour.locator(".badge")).to_have_text("succeeded")
    expect(harbour).to_contain_text("done in 13 s")
    expect(harbour.get_by_role("progressbar")).to_be_hidden()
    expect(page.get_by_role("status")).to_have_text("Harbour: succeeded")
    expect(page.get_by_role("link", name="succeeded 1")).to_be_visible()
    assert page.evaluate("takeShift()") < 0.01


def jobs_of_all_kinds(site: Site, workshop: Workshop) -> None:
    workshop.connect()
    made = [
        site.submit(name=name, labels={"a": "b"} if name else {})["id"]
        for name in ("", "p", "f", "s", "r", "c")
    ]
    site.submit(name="w")
    site.submit(name="v")
    for job_id in made:
        workshop.claim(job_id)
    workshop.checkpoint(made[1], 40)
    workshop.pause(made[1], 40)
    workshop.fail(made[2])
    workshop.succeed(made[3])
    workshop.progress(made[4], 30)
    workshop.cancel(made[5], 20)


def cards_without_ages(page: Page) -> list[str]:
    html = page.locator(".gallery > li").evaluate_all("(all) => all.map((item) => item.outerHTML)")
    return [re.sub(r"just now|\d+ s ago", "", text) for text in html]


def test_what_the_page_says_later_is_what_it_said_first(site: Site, workshop: Workshop, visitor: Visitor):
    site.submit(name="first")
    live = visitor.open(site.url)
    jobs_of_all_kinds(site, workshop)
    live.get_by_role("button", name="8 new jobs").click()
    page = visitor.open(site.url)
    before = cards_without_ages(page)
    # A card that has come later is like one that was there from the start. What was answered last is taken
    # when the page asks for the next.
    for _ in range(2):
        with live.expect_request("**/parts/jobs"):
            pass
    assert len(before) == 9
    assert cards_without_ages(live) == before
    # And what is asked for again changes nothing: no element is another one.
    page.evaluate("for (const node of document.querySelectorAll('.gallery *')) node.isTheSame = true")
    for _ in range(2):
        with page.expect_request("**/parts/jobs"):
            pass
    assert cards_without_ages(page) == before
    assert page.evaluate("[...document.querySelectorAll('.gallery *')].every((node) => node.isTheSame)")


def test_only_what_differs_is_touched(site: Site, workshop: Workshop, visitor: Visitor):
    workshop.connect()
    job_id = site.submit(name="Harbour", labels={"series": "town"})["id"]
    workshop.claim(job_id)
    workshop.progress(job_id, 10)
    page = visitor.open(site.url)
    page.get_by_role("link", name="series:town").focus()
    page.evaluate("for (const node of document.querySelectorAll('.gallery *')) node.isTheSame = true")
    page.evaluate(
        """() => {
          window.unready = 0;
          const image = document.querySelector(".cover img");
          const look = () => (window.unready += image.complete && image.naturalWidth > 0 ? 0 : 1);
          image.decode().then(() => new MutationObserver(look).observe(image, { attributes: true }));
        }"""
    )
    for step in (20, 30):
        workshop.progress(job_id, step)
        expect(card(page, "Harbour").get_by_role("progressbar")).to_have_attribute("value", f"0.{step // 10}")
        expect(page.locator(".cover img")).to_have_attribute("src", re.compile(rf"v=1-{step}$"))
    # Its bar grows, its picture is there when it takes the old one's place, and the focus is where it was.
    assert page.evaluate("[...document.querySelectorAll('.gallery *')].every((node) => node.isTheSame)")
    assert page.evaluate("window.unready") == 0
    expect(page.get_by_role("link", name="series:town")).to_be_focused()
    # Lines that come and go leave the others alone.
    workshop.fail(job_id)
    expect(card(page, "Harbour")).to_contain_text("Submit it again with a smaller size.")
    expect(page.get_by_role("link", name="series:town")).to_be_focused()


def test_nothing_is_sent_while_nothing_is_new_and_ages_grow(site: Site, visitor: Visitor):
    job_id = site.submit(name="Harbour")["id"]
    site.act(job_id, "cancel")
    page = visitor.open(site.url)
    with page.expect_response("**/parts/jobs") as first:
        pass
    assert first.value.status == 200
    page.locator(".gallery time").evaluate(
        "(time) => (time.dateTime = new Date(Date.now() - 3 * 3_600_000).toISOString())"
    )
    with page.expect_response("**/parts/jobs") as second:
        pass
    assert second.value.status == 304
    expect(page.locator(".gallery time")).to_have_text("3 h ago")


def test_nobody_asks_for_a_page_that_is_hidden(site: Site, visitor: Visitor):
    site.submit(name="Harbour")
    page = visitor.open(site.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { value: true, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.wait_for_timeout(4000)
    assert [url for url in asked if "/parts/" in url] == []
    with page.expect_request("**/parts/jobs"):
        page.evaluate(
            """() => {
              Object.defineProperty(document, "hidden", { value: false, configurable: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }"""
        )


def test_a_status_without_jobs_stays_in_its_place(site: Site, workshop: Workshop, visitor: Visitor):
    job_id = site.submit(name="Harbour")["id"]
    page = visitor.open(site.url)
    expect(page.get_by_role("link", name="paused", exact=False)).to_have_count(0)
    workshop.claim(job_id)
    workshop.pause(job_id, 10)
    expect(page.get_by_role("link", name="paused 1")).to_be_visible()
    site.act(job_id, "resume")
    expect(page.get_by_role("link", name="queued 1")).to_be_visible()
    expect(page.get_by_role("link", name="paused 0")).to_be_visible()


def test_new_jobs_wait_until_they_are_asked_for(site: Site, workshop: Workshop, visitor: Visitor):
    site.submit(name="First")
    page = visitor.open(site.url)
    site.submit(name="Second")
    news = page.get_by_role("button", name="1 new job")
    expect(news).to_be_visible()
    third = site.submit(name="Third")["id"]
    expect(page.get_by_role("button", name="2 new jobs")).to_be_visible()
    assert titles(page) == ["First"]
    assert page.evaluate("takeShift()") < 0.01
    page.get_by_role("button", name="2 new jobs").click()
    assert titles(page) == ["Third", "Second", "First"]
    expect(page.get_by_role("link", name="Third", exact=True)).to_be_focused()
    # They live as the others do.
    workshop.claim(third)
    expect(card(page, "Third").locator(".badge")).to_have_text("running")
    expect(page.locator("[data-news]")).to_be_hidden()


def test_the_first_job_shows_itself(site: Site, visitor: Visitor):
    page = visitor.open(site.url)
    expect(page.get_by_role("link", name="Make the first one")).to_be_visible()
    site.submit(name="First")
    expect(page.get_by_role("link", name="First", exact=True)).to_be_visible()


def test_a_job_that_leaves_the_filter_stays_and_goes_on(site: Site, workshop: Workshop, visitor: Visitor):
    job_id = site.submit(name="Harbour")["id"]
    page = visitor.open(f"{site.url}/?status=queued")
    workshop.claim(job_id)
    expect(card(page, "Harbour").locator(".badge")).to_have_text("running")
    workshop.fail(job_id)
    expect(card(page, "Harbour")).to_contain_text("Submit it again with a smaller size.")
    expect(page.get_by_role("link", name="queued 0")).to_be_visible()


def test_jobs_that_left_the_filter_are_asked_for_together(site: Site, workshop: Workshop, visitor: Visitor):
    made = [site.submit(name=name)["id"] for name in ("Harbour", "Market")]
    page = visitor.open(f"{site.url}/?status=queued")
    for job_id in made:
        workshop.claim(job_id)
    with page.expect_request("**/parts/jobs?id=*") as asked:
        pass
    assert [asked.value.url.count(job_id) for job_id in made] == [1, 1]
    workshop.succeed(made[0])
    expect(page.get_by_role("status")).to_have_text("Harbour: succeeded")
    workshop.progress(made[1], 30)
    expect(card(page, "Market")).to_contain_text("step 30 of 100")
    # What has ended is left alone.
    with page.expect_request("**/parts/jobs?id=*") as asked:
        pass
    assert [asked.value.url.count(job_id) for job_id in made] == [0, 1]


def test_older_jobs_are_added_below(site: Site, workshop: Workshop, visitor: Visitor):
    made = [site.submit(name=f"Job {number:02}")["id"] for number in range(30)]
    page = visitor.open(site.url)
    assert len(titles(page)) == 24
    page.get_by_role("link", name="Older jobs").click()
    expect(page.locator(".gallery > li")).to_have_count(30)
    assert page.url == f"{site.url}/"
    assert titles(page) == [f"Job {number:02}" for number in range(29, -1, -1)]
    expect(page.get_by_role("link", name="Job 05", exact=True)).to_be_focused()
    expect(page.get_by_role("link", name="Older jobs")).to_be_hidden()
    workshop.claim(made[0])
    expect(card(page, "Job 00").locator(".badge")).to_have_text("running")


def test_who_comes_back_finds_the_older_jobs_and_the_place(site: Site, visitor: Visitor):
    for number in range(2 * PAGE_SIZE + 3):
        site.submit(name=f"Job {number:02d}")
    page = visitor.open(site.url)
    for shown in (2 * PAGE_SIZE, 2 * PAGE_SIZE + 3):
        page.get_by_role("link", name="Older jobs").click()
        expect(page.locator(".job-card")).to_have_count(shown)
    page.get_by_role("link", name="Job 20", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Job 20")
    page.go_back()
    expect(page.locator(".job-card")).to_have_count(2 * PAGE_SIZE + 3)
    expect(page.get_by_role("link", name="Job 20", exact=True)).to_be_in_viewport()


def test_with_the_keyboard_alone(site: Site, visitor: Visitor):
    for name in ("Brücke", "Markt"):
        site.submit(name=name)
    page = visitor.open(site.url)
    page.get_by_label("Name").focus()
    page.keyboard.type("brück")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("name=br"))
    expect(page.get_by_role("link", name="Brücke", exact=True)).to_be_visible()
    assert titles(page) == ["Brücke"]
    page.get_by_role("link", name="Brücke", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/jobs/[0-9a-f-]{36}$"))


def test_a_card_is_one_big_link_with_labels_on_top(site: Site, visitor: Visitor):
    site.submit(name="Harbour", labels={"series": "town"})
    page = visitor.open(site.url, width=PHONE)
    page.get_by_role("link", name="series:town").click()
    expect(page).to_have_url(f"{site.url}/?label=series%3Atown")
    expect(page.get_by_role("link", name="Without the label series:town")).to_be_visible()
    box = page.locator(".cover").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page).to_have_url(re.compile("/jobs/[0-9a-f-]{36}$"))


def test_the_page_outlives_a_restart(site: Site, workshop: Workshop, visitor: Visitor):
    visitor.expects("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_SOCKET")
    job_id = site.submit(name="Harbour")["id"]
    page = visitor.open(site.url)
    site.kill()
    expect(page.get_by_text("The service does not answer")).to_be_visible()
    site.start()
    workshop.claim(job_id)
    expect(card(page, "Harbour").locator(".badge")).to_have_text("running")
    expect(page.get_by_text("The service does not answer")).to_be_hidden()


def test_a_job_deleted_elsewhere_is_said_to_be(site: Site, visitor: Visitor):
    job_id = site.submit(name="Harbour")["id"]
    site.submit(name="Other")
    page = visitor.open(site.url)
    site.act(job_id, "cancel")
    site.delete(job_id)
    expect(card(page, "Harbour")).to_contain_text("deleted")
    assert titles(page) == ["Other", "Harbour"]


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_without_scripts(site: Site, workshop: Workshop, visitor: Visitor, width: int):
    for number in range(26):
        site.submit(name=f"Job {number:02}")
    page = visitor.open(site.url, scripts=False, width=width)
    page.get_by_role("link", name="Older jobs").click()
    expect(page.get_by_role("link", name="Job 00", exact=True)).to_be_visible()
    page.get_by_role("link", name="Newer jobs").click()
    expect(page.get_by_role("link", name="Job 25", exact=True)).to_be_visible()
    page.get_by_label("Name").fill("job 07")
    page.get_by_role("button", name="Search").click()
    assert titles(page) == ["Job 07"]
    page.get_by_role("link", name="failed 0").click()
    expect(page.get_by_role("heading", name="No job matches")).to_be_visible()


def test_a_label_that_cannot_be_read_is_told_of_at_its_field(site: Site, visitor: Visitor):
    visitor.expects("400")
    site.submit()
    page = visitor.open(site.url)
    page.get_by_role("textbox", name="Label").fill("town")
    page.get_by_role("button", name="Search").click()
    field = page.get_by_role("textbox", name="Label")
    expect(field).to_have_accessible_description("The label is 'town'; it must be of the form key:value.")
    expect(field).to_have_value("town")

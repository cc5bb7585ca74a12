"""Many open pages of one browser: its six connections to a host are not all held by streams."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.visitor import Visitor
from tests.support.waiting import wait_until
from tests.support.website import Site
from tests.support.workshop import Workshop

_TABS = 20
_STREAMS = 4
_HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def job_id(site: Site, workshop: Workshop) -> str:
    made: str = site.submit(name="Harbour", options={"steps": 40})["id"]
    workshop.connect()
    workshop.claim(made)
    return made


@pytest.fixture
def open_tab(visitor: Visitor, site: Site, job_id: str) -> Callable[[], Page]:
    """Open one more page of the job in the same window."""
    first = visitor.open(f"{site.url}/jobs/{job_id}")
    given = [first]

    def open_one() -> Page:
        if given:
            return given.pop()
        page = first.context.new_page()
        page.goto(f"{site.url}/jobs/{job_id}")
        return page

    return open_one


def state(page: Page) -> str | None:
    return page.locator("[data-connection]").get_attribute("data-state")


def four_are_live(tabs: list[Page]) -> None:
    """Pages that are busy answer each other late, so that there may be more for a moment."""
    wait_until(
        lambda: [state(tab) for tab in tabs].count("live") == _STREAMS,
        seconds=20,
        what="four pages have streams",
    )


def has_state(page: Page, *states: str) -> None:
    page.wait_for_function(
        "(states) => states.includes(document.querySelector('[data-connection]').dataset.state)",
        arg=list(states),
    )


def test_twenty_visible_pages_follow_and_four_of_them_by_streams(
    open_tab: Callable[[], Page], job_id: str, workshop: Workshop
):
    tabs = [open_tab() for _ in range(_TABS)]
    for tab in tabs:
        has_state(tab, "live", "polling")
    four_are_live(tabs)
    workshop.checkpoint(job_id, 20)
    workshop.succeed(job_id)
    for tab in tabs:
        expect(tab.locator("[data-part=standing]")).to_contain_text("Done in")


def test_a_page_that_is_closed_leaves_its_stream_to_another(open_tab: Callable[[], Page]):
    tabs = [open_tab() for _ in range(_STREAMS + 1)]
    for tab in tabs:
        has_state(tab, "live", "polling")
    watching = next(tab for tab in tabs if state(tab) == "live")
    waiting = next(tab for tab in tabs if state(tab) == "polling")
    watching.close()
    has_state(waiting, "live")


def test_a_hidden_page_lets_its_stream_go_and_is_right_when_it_is_shown(
    open_tab: Callable[[], Page], job_id: str, workshop: Workshop
):
    tabs = [open_tab() for _ in range(_STREAMS + 1)]
    for tab in tabs:
        has_state(tab, "live", "polling")
    hidden = next(tab for tab in tabs if state(tab) == "live")
    waiting = next(tab for tab in tabs if state(tab) == "polling")
    with hidden.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
        hidden.evaluate(_HIDE, True)
    has_state(waiting, "live")
    workshop.checkpoint(job_id, 20)
    expect(waiting.get_by_role("link", name="Step 20")).to_be_visible()
    expect(hidden.get_by_role("link", name="Step 20")).to_have_count(0)
    with hidden.expect_response(lambda answer: answer.url.endswith(f"/jobs/{job_id}")):
        hidden.evaluate(_HIDE, False)
    expect(hidden.get_by_role("link", name="Step 20")).to_be_visible()


def test_pages_of_one_moment_do_not_take_more_than_there_are(visitor: Visitor, site: Site, job_id: str):
    first = visitor.open(f"{site.url}/jobs/{job_id}")
    has_state(first, "live")
    with first.context.expect_page(lambda _: len(first.context.pages) == 10):
        first.evaluate("(url) => { for (let i = 0; i < 9; i += 1) window.open(url); }", first.url)
    tabs = first.context.pages
    for tab in tabs:
        has_state(tab, "live", "polling")
    four_are_live(tabs)

"""A link made on the page of a job, opened by somebody without a session, and revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from shared.clock import utc_now
from tests.browser.accessibility import find_faults, find_keyboard_faults
from tests.support.visitor import DESKTOP, PHONE, Theme, Visitor
from tests.support.waiting import wait_until
from tests.support.website import Site
from tests.support.workshop import Workshop
from web.access.tokens import Scope, create_token

SCREENS = Path(__file__).parents[2] / "build" / "screens"


@pytest.fixture
def job_id(site: Site, workshop: Workshop) -> str:
    """A job that has ended, of the caller local; from now on nobody gets in without a token."""
    made: str = site.submit(name="Harbour", labels={"series": "town"})["id"]
    workshop.run_through(made)
    return made


@pytest.fixture
def token(site: Site, job_id: str) -> str:
    with site.services.backend.database.write() as session:
        made = create_token(
            session, name="me", scopes={Scope.SUBMIT}, caller=None, expires_at=None, now=utc_now()
        )
    wait_until(lambda: site.asks_for_a_token(), seconds=20)
    return made.text


def open_job(visitor: Visitor, site: Site, job_id: str, token: str, *, scripts: bool = True) -> Page:
    page = visitor.open(f"{site.url}/jobs/{job_id}", scripts=scripts)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Harbour")
    return page


def make_link(page: Page, of: str = "page") -> str:
    if not page.get_by_role("button", name="Make a link").is_visible():
        page.locator("#share summary").click()
    page.get_by_label("What is seen").select_option(of)
    page.get_by_label("For", exact=True).select_option("1 day")
    page.get_by_role("button", name="Make a link").click()
    return page.get_by_label(f"Link to the {'picture' if of == 'output' else 'page'}").input_value()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_link_shows_the_picture_to_somebody_without_a_session_until_it_is_revoked(
    visitor: Visitor, site: Site, job_id: str, token: str, scripts: bool
):
    visitor.expects("404")
    owner = open_job(visitor, site, job_id, token, scripts=scripts)
    url = make_link(owner)
    assert url.startswith(f"{site.url}/share/")
    picture_url = make_link(owner, "output")

    guest = visitor.open(url, scripts=scripts)
    expect(guest.get_by_role("heading", level=1)).to_have_text("Harbour")
    for name in ("Result of Harbour", "Content of Harbour", "Style of Harbour"):
        picture = guest.get_by_role("img", name=name)
        expect(picture).to_be_visible()
        if scripts:
            assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 0
    assert guest.context.cookies() == []
    expect(guest.locator("body")).not_to_contain_text("town")
    expect(guest.locator("body")).not_to_contain_text("content.png")
    alone = guest.request.get(picture_url)
    assert (alone.status, alone.headers["content-type"]) == (200, "image/png")

    owner.get_by_role("button", name="Revoke all links").click()
    expect(owner.get_by_text("All links of this job are revoked.")).to_be_visible()
    gone = guest.reload()
    assert gone is not None
    assert gone.status == 404
    expect(guest.get_by_role("heading", level=1)).to_have_text("There is nothing here.")
    assert guest.request.get(picture_url).status == 404
    log = "".join(site.log)
    assert '"path": "/share/\\u2026"' in log
    assert not [link for link in (url, picture_url) if link.rpartition(".")[2] in log]


def test_the_link_can_be_copied(visitor: Visitor, site: Site, job_id: str, token: str):
    owner = open_job(visitor, site, job_id, token)
    owner.context.grant_permissions(["clipboard-read", "clipboard-write"])
    url = make_link(owner)
    owner.get_by_role("button", name="Copy").click()
    expect(owner.get_by_role("button", name="Copied")).to_be_visible()
    assert owner.evaluate("navigator.clipboard.readText()") == url


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_open_menu_is_fit_for_everybody(
    visitor: Visitor, site: Site, job_id: str, theme: Theme, width: int
):
    page = visitor.open(f"{site.url}/jobs/{job_id}", theme=theme, width=width)
    make_link(page)
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"job-shared-{theme}-{width}.png", full_page=True)
    assert find_faults(page) == []
    if width == DESKTOP:
        assert find_keyboard_faults(page) == []

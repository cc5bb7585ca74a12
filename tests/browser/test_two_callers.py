"""Two callers in a browser: each signs in, works, sees what is theirs and nothing else, and signs out."""

from __future__ import annotations

import re

import httpx2
import pytest
from playwright.sync_api import Page, expect

from shared.clock import utc_now
from tests.browser.accessibility import find_faults, find_keyboard_faults
from tests.browser.new_job_form import CONTENT, STYLE, choose_both, start
from tests.support.visitor import DESKTOP, PHONE, Theme, Visitor
from tests.support.waiting import wait_until
from tests.support.website import Site
from tests.support.workshop import Workshop
from web.access.tokens import Scope, create_token


@pytest.fixture
def tokens(site: Site) -> dict[str, str]:
    """A token of each caller, and nobody gets in without one any more."""
    made = {}
    with site.services.backend.database.write() as session:
        for caller in ("anna", "ben"):
            token = create_token(
                session, name=caller, scopes={Scope.SUBMIT}, caller=caller, expires_at=None, now=utc_now()
            )
            made[caller] = token.text
    wait_until(lambda: site.asks_for_a_token(), seconds=20)
    return made


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_a_walk_through_every_page_as_two_callers(
    visitor: Visitor, site: Site, workshop: Workshop, tokens: dict[str, str]
):
    workshop.connect()
    anna = visitor.open(f"{site.url}/new")
    expect(anna).to_have_url(re.compile(r"/signin\?next=/new$"))
    sign_in(anna, tokens["anna"])
    expect(anna).to_have_url(f"{site.url}/new")
    expect(anna.get_by_role("banner")).to_contain_text("anna")
    choose_both(anna)
    start(anna)
    expect(anna).to_have_url(re.compile("/jobs/"))
    address = anna.url
    job_id = address.rpartition("/")[2]
    workshop.run_through(job_id)
    expect(anna.get_by_role("img").first).to_be_visible()

    anna.goto(f"{site.url}/webhooks")
    anna.get_by_label("Address").fill("https://93.184.215.14/hook")
    anna.get_by_role("button", name="Save").click()
    secret = anna.locator(".secret code").inner_text()
    assert secret.startswith("whsec_")
    anna.reload()
    anna.goto(f"{site.url}/webhooks")
    expect(anna.get_by_role("main")).to_contain_text("https://93.184.215.14/hook")
    assert secret not in anna.content()

    visitor.expects("404")
    ben = visitor.open(address)
    sign_in(ben, tokens["ben"])
    expect(ben.get_by_role("heading", level=1)).to_have_text("There is no such job.")
    for path in ("/", "/new", "/workers", "/webhooks"):
        ben.goto(f"{site.url}{path}")
        expect(ben.get_by_role("banner")).to_contain_text("ben")
        expect(ben.locator("body")).not_to_contain_text("content.png")
        expect(ben.locator("body")).not_to_contain_text("93.184.215.14")
        assert job_id not in ben.content()
    picture = ben.request.get(f"{site.url}/api/v1/jobs/{job_id}/output")
    assert picture.status == 404

    anna.goto(f"{site.url}/")
    expect(anna.get_by_role("main")).to_contain_text("content.png")
    anna.get_by_role("button", name="Sign out").click()
    expect(anna).to_have_url(f"{site.url}/signin")
    anna.goto(address)
    expect(anna).to_have_url(re.compile("/signin"))


@pytest.mark.parametrize("path", ["/", "/workers", "/jobs/{job}"])
def test_an_open_page_leads_to_the_sign_in_after_a_sign_out_elsewhere(
    visitor: Visitor, site: Site, workshop: Workshop, tokens: dict[str, str], path: str
):
    visitor.expects("401")
    page = visitor.open(f"{site.url}/new")
    sign_in(page, tokens["anna"])
    choose_both(page)
    start(page)
    expect(page).to_have_url(re.compile("/jobs/"))
    page.goto(site.url + path.format(job=page.url.rpartition("/")[2]))
    other = page.context.new_page()
    other.goto(f"{site.url}/new")
    other.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/signin"))


def test_scripts_may_change_what_is_ones_own(
    visitor: Visitor, site: Site, workshop: Workshop, tokens: dict[str, str]
):
    workshop.connect()
    page = visitor.open(f"{site.url}/new")
    sign_in(page, tokens["anna"])
    choose_both(page)
    start(page)
    expect(page).to_have_url(re.compile("/jobs/"))
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.get_by_role("main")).to_contain_text("canceled")


def test_without_scripts_too(visitor: Visitor, site: Site, workshop: Workshop, tokens: dict[str, str]):
    workshop.connect()
    page = visitor.open(f"{site.url}/new", scripts=False)
    sign_in(page, tokens["anna"])
    page.get_by_label("Content picture").set_input_files(CONTENT)
    page.get_by_label("Style picture").set_input_files(STYLE)
    start(page)
    expect(page).to_have_url(re.compile("/jobs/"))


@pytest.fixture
def manager(site: Site, tokens: dict[str, str]) -> str:
    """A token of carl's, who manages everybody's jobs."""
    with site.services.backend.database.write() as session:
        return create_token(
            session, name="carl", scopes={Scope.MANAGE}, caller="carl", expires_at=None, now=utc_now()
        ).text


def submit(site: Site, token: str, name: str) -> str:
    files = {
        part: (f"{part}.png", path.read_bytes()) for part, path in (("content", CONTENT), ("style", STYLE))
    }
    data = {"name": name, "reuse": "false", "options": '{"size": 256}'}
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx2.post(f"{site.url}/api/v1/jobs", files=files, data=data, headers=headers, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_who_manages_looks_at_anothers_jobs_and_acts_on_them(
    visitor: Visitor, site: Site, workshop: Workshop, tokens: dict[str, str], manager: str
):
    workshop.connect()
    first = submit(site, tokens["anna"], "First of anna")
    submit(site, tokens["ben"], "Of ben")
    page = visitor.open(site.url)
    sign_in(page, manager)
    main = page.get_by_role("main")
    expect(main).not_to_contain_text("of anna")
    page.get_by_label("Jobs of").select_option("anna")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"caller=anna"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs of anna")
    expect(main).to_contain_text("First of anna")
    expect(main).not_to_contain_text("Of ben")

    # The open page goes on with her jobs: a new one is told of, and a filter keeps whose they are.
    submit(site, tokens["anna"], "Second of anna")
    page.locator("[data-news]").click()
    expect(main).to_contain_text("Second of anna")
    page.get_by_role("link", name=re.compile("^queued")).click()
    expect(page).to_have_url(re.compile(r"status=queued&caller=anna"))
    workshop.claim(first)
    expect(page.locator(f'[data-job="{first}"]')).to_have_attribute("data-status", "running")

    page.get_by_role("link", name="Second of anna").click()
    expect(main).to_contain_text("It is anna’s")
    expect(page.get_by_role("banner")).to_contain_text("carl")
    page.get_by_role("button", name="Cancel").first.click()
    expect(main).to_contain_text("canceled")
    page.locator("#delete summary").click()
    page.get_by_role("button", name="Delete for ever").click()
    expect(page).to_have_url(re.compile(r"/\?caller=anna&note=deleted$"))
    expect(main).to_contain_text("First of anna")
    expect(main).not_to_contain_text("Second of anna")


def test_who_manages_does_without_scripts_too(
    visitor: Visitor, site: Site, workshop: Workshop, tokens: dict[str, str], manager: str
):
    workshop.connect()
    submit(site, tokens["anna"], "Of anna")
    page = visitor.open(site.url, scripts=False)
    sign_in(page, manager)
    page.get_by_label("Jobs of").select_option("anna")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Of anna").click()
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.get_by_role("main")).to_contain_text("canceled")
    page.get_by_role("link", name="Jobs of anna").click()
    expect(page).to_have_url(f"{site.url}/?caller=anna")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_choice_of_a_caller_is_fit_for_everybody_and_shown_to_who_manages_alone(
    visitor: Visitor, site: Site, tokens: dict[str, str], manager: str, theme: Theme, width: int
):
    submit(site, tokens["anna"], "Of anna")
    page = visitor.open(f"{site.url}/?caller=anna", width=width, theme=theme)
    sign_in(page, manager)
    expect(page.get_by_label("Jobs of")).to_have_value("anna")
    assert find_faults(page) == []
    assert find_keyboard_faults(page) == []
    page.get_by_role("link", name="Of anna").click()
    expect(page.get_by_role("main")).to_contain_text("It is anna’s")
    assert find_faults(page) == []
    ben = visitor.open(site.url, width=width, theme=theme)
    sign_in(ben, tokens["ben"])
    expect(ben.get_by_role("heading", level=1)).to_have_text("Jobs")
    expect(ben.get_by_label("Jobs of")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_form_is_fit_for_everybody_and_tells_a_wrong_token(
    visitor: Visitor, site: Site, tokens: dict[str, str], theme: Theme, width: int
):
    visitor.expects("401")
    page = visitor.open(f"{site.url}/signin", width=width, theme=theme)
    assert find_faults(page) == []
    assert find_keyboard_faults(page) == []
    sign_in(page, "nonsense")
    expect(page.get_by_role("alert")).to_contain_text("not known here")
    expect(page.get_by_label("Token")).to_have_attribute("aria-invalid", "true")
    assert find_faults(page) == []
    sign_in(page, tokens["anna"])
    expect(page).to_have_url(f"{site.url}/")
    assert find_faults(page) == []
    assert find_keyboard_faults(page) == []

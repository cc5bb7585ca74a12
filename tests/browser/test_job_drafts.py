"""The draft on the page of a job: asked for by the page, shown first, compared with, or made when chosen."""

from __future__ import annotations

import io
import re
from typing import Any

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from shared.clock import utc_now
from tests.browser.new_job_form import jobs_of, next_draft
from tests.support.visitor import DESKTOP, PHONE, Visitor
from tests.support.waiting import wait_until
from tests.support.website import EXAMPLES, Site
from tests.support.workshop import Workshop
from web.control.followers import Followers

OWL = EXAMPLES.parent / "web/static/examples/content-owl.jpg"
_HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


_SMALL_PHONE = 320


@pytest.fixture
def light(workshop: Workshop) -> None:
    """A worker of drafts that is connected."""
    workshop.connect("drafts", "cpu", methods=["fast"])


def submit(site: Site, **options: Any) -> str:
    """Hand a job in as programs do; return its id."""
    job_id: str = site.submit(name="Harbour", options={"steps": 40, **options})["id"]
    return job_id


def visit(visitor: Visitor, site: Site, job_id: str, query: str = "", **given: Any) -> Page:
    return visitor.open(f"{site.url}/jobs/{job_id}{query}", **given)


def make(site: Site) -> str:
    """Do what the worker of drafts does with the next one; return its id."""
    draft_id: str = next_draft(site)["id"]
    site.workshop.claim(draft_id, worker_id="drafts")
    site.workshop.succeed(draft_id)
    return draft_id


def shown(page: Page) -> Locator:
    return page.locator("[data-shown] img")


def in_its_place(page: Page) -> Locator:
    """Return the words that stand where there is no draft."""
    return page.locator("[data-no-draft]")


def is_inside(inner: Any, outer: Any) -> bool:
    """Whether a box (as Playwright has them: px from the page's corner) is within another one."""
    return all(
        outer[at] <= inner[at] and inner[at] + inner[size] <= outer[at] + outer[size]
        for at, size in (("x", "width"), ("y", "height"))
    )


def do_meet(one: Any, other: Any) -> bool:
    """Whether two boxes have anything in common."""
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
        for at, size in (("x", "width"), ("y", "height"))
    )


def followers_settle(site: Site) -> int:
    return Followers(site.services.backend, clock=utc_now).follow()


@pytest.mark.usefixtures("light")
def test_a_job_from_the_api_shows_its_draft_until_its_first_preview(
    visitor: Visitor, site: Site, workshop: Workshop
):
    job_id = submit(site)
    page = visit(visitor, site, job_id)
    page.evaluate("window.isTheSame = true")
    draft = next_draft(site)
    assert draft["input"] == site.job(job_id)["input"]
    assert draft["options"] == {"method": "fast", "size": 256, "style_strength": 1, "detail": 1024}
    expect(page.locator("[data-stage]")).to_have_attribute("data-kind", "content")
    make(site)
    expect(shown(page)).to_have_attribute("src", re.compile(draft["id"]))
    expect(page.get_by_role("img", name="Draft of Harbour").first).to_be_visible()
    caption = page.locator("[data-caption]")
    expect(caption).to_have_text("A draft by the fast method; previews come with the first steps.")
    expect(page.locator("#announcer")).to_have_text("The draft is there")
    expect(page.get_by_role("link", name="Open the picture")).to_have_attribute(
        "href", re.compile(draft["id"])
    )
    workshop.connect()
    workshop.claim(job_id)
    expect(page.locator("[data-part=standing]")).to_contain_text("On gpu-a")
    expect(shown(page)).to_have_attribute("src", re.compile(draft["id"]))
    workshop.progress(job_id, 4)
    expect(shown(page)).to_have_attribute("src", re.compile(r"/preview\?step=4$"))
    expect(caption).to_have_text("Preview at step 4")
    page.get_by_role("link", name="Draft", exact=True).click()
    expect(page.locator("img.draft")).to_be_visible()
    expect(shown(page)).to_be_hidden()
    # The draft stays where it is while the job goes on.
    workshop.progress(job_id, 9)
    expect(caption).to_have_text("Preview at step 9")
    expect(page.locator("img.draft")).to_be_visible()
    assert page.evaluate("window.isTheSame")
    assert [one["id"] for one in jobs_of(site, "draft")] == [draft["id"]]


@pytest.mark.usefixtures("light")
def test_a_draft_that_comes_after_the_first_preview_is_only_there_to_be_looked_at(
    visitor: Visitor, site: Site, workshop: Workshop
):
    job_id = submit(site)
    workshop.claim(job_id)
    page = visit(visitor, site, job_id)
    next_draft(site)
    workshop.progress(job_id, 4)
    expect(shown(page)).to_have_attribute("src", re.compile(r"/preview\?step=4$"))
    make(site)
    expect(page.locator("img.draft")).to_be_attached()
    expect(shown(page)).to_have_attribute("src", re.compile(r"/preview\?step=4$"))
    assert page.locator("img.draft").get_attribute("src") is None  # nobody has looked at it
    # Whoever comes later finds it, and asks for no other.
    again = visit(visitor, site, job_id, "?view=draft")
    expect(again.locator("img.draft")).to_be_visible()
    assert len(jobs_of(site, "draft")) == 1


@pytest.mark.usefixtures("light")
def test_a_job_that_starts_from_the_draft_gives_it_strength_and_detail(visitor: Visitor, site: Site):
    visit(visitor, site, submit(site, init="fast", style_strength=0.5, detail=192))
    assert next_draft(site)["options"] == {
        "method": "fast",
        "size": 256,
        "style_strength": 0.5,
        "detail": 192,
    }


@pytest.mark.usefixtures("light")
def test_the_draft_of_an_ended_job_is_made_when_it_is_chosen(
    visitor: Visitor, site: Site, workshop: Workshop
):
    job_id = submit(site)
    workshop.run_through(job_id)
    page = visit(visitor, site, job_id)
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("link", name="Result", exact=True).click()
    assert jobs_of(site, "draft") == []  # nobody wants it
    page.get_by_role("link", name="Draft", exact=True).click()
    expect(in_its_place(page)).to_contain_text("Making the draft …")
    expect(page.get_by_role("button", name="Make a draft")).to_be_hidden()
    expect(page.get_by_role("img", name="Content: content.png")).to_be_visible()
    make(site)
    expect(page.locator("img.draft")).to_be_visible()
    expect(in_its_place(page)).to_have_count(0)
    expect(page.get_by_role("img", name="Content: content.png")).to_be_hidden()
    expect(page.locator(".caption:visible")).to_have_text("A draft by the fast method")
    opened = page.get_by_role("link", name="Open the picture")
    expect(opened).to_have_attribute("href", page.locator("img.draft").get_attribute("src") or "")
    page.get_by_role("link", name="Result", exact=True).click()
    expect(shown(page)).to_have_attribute("src", re.compile(r"/output\?v="))
    expect(page.locator(".caption:visible")).to_contain_text("Result of")
    expect(opened).to_have_attribute("href", shown(page).get_attribute("src") or "")
    page.get_by_role("link", name="Draft", exact=True).click()
    assert len(jobs_of(site, "draft")) == 1


@pytest.mark.usefixtures("light")
def test_the_address_of_a_draft_that_is_gone_has_it_made(visitor: Visitor, site: Site, workshop: Workshop):
    job_id = submit(site)
    workshop.run_through(job_id)
    page = visit(visitor, site, job_id, "?view=draft")
    site.delete(make(site))
    page.reload()
    expect(in_its_place(page)).to_contain_text("Making the draft …")
    make(site)
    expect(page.locator("img.draft")).to_be_visible()


@pytest.mark.usefixtures("light")
def test_a_draft_that_cannot_be_made_says_why_where_it_was_chosen(
    visitor: Visitor, site: Site, workshop: Workshop
):
    visitor.expects("429.*/api/v1/jobs")
    job_id = submit(site)
    workshop.run_through(job_id)
    held = [
        site.submit(kind="draft", options={"size": 64 + number})["id"]
        for number in range(site.settings.max_drafts)
    ]
    for one in held:  # of the same pictures: the page would wait for one of these
        site.act(one, "cancel")
    held = [
        site.submit(kind="draft", content=OWL.read_bytes(), options={"size": 64 + number})["id"]
        for number in range(site.settings.max_drafts)
    ]
    page = visit(visitor, site, job_id)
    page.get_by_role("link", name="Draft", exact=True).click()
    expect(in_its_place(page)).to_contain_text("8 of your drafts are under way; at most 8 may be at once.")
    for one in held:
        site.act(one, "cancel")
    page.get_by_role("button", name="Make a draft").click()
    draft = next_draft(site)
    workshop.claim(draft["id"], worker_id="drafts")
    workshop.fail(draft["id"])
    expect(in_its_place(page)).to_contain_text("The device has not enough memory for this working size.")
    page.reload()
    # It is not tried again and again, but when somebody wants it.
    expect(in_its_place(page)).to_contain_text("The device has not enough memory for this working size.")
    page.get_by_role("button", name="Make a draft").click()
    make(site)
    expect(page.locator("img.draft")).to_be_visible()


@pytest.mark.usefixtures("light")
def test_too_many_drafts_are_no_matter_of_whoever_looks_at_a_job(
    visitor: Visitor, site: Site, workshop: Workshop
):
    visitor.expects("429.*/api/v1/jobs")
    for number in range(site.settings.max_drafts):
        site.submit(kind="draft", content=OWL.read_bytes(), options={"size": 64 + number})
    job_id = submit(site)
    page = visitor.open("about:blank")
    with page.expect_response(lambda answer: answer.status == 429):
        page.goto(f"{site.url}/jobs/{job_id}")
    workshop.claim(job_id)
    workshop.progress(job_id, 4)
    expect(shown(page)).to_have_attribute("src", re.compile(r"/preview\?step=4$"))
    expect(page.locator("[data-refusal]")).to_be_hidden()
    expect(in_its_place(page)).to_be_hidden()


def test_where_nobody_makes_drafts_none_is_offered_until_somebody_does(
    visitor: Visitor, site: Site, workshop: Workshop
):
    workshop.connect()
    job_id = submit(site)
    # What the web process knows of workers is up to a second old: it may still be that of another test.
    plain = f"{site.url}/jobs/{job_id}"
    wait_until(lambda: "view-draft" not in httpx2.get(plain, timeout=60).text, seconds=60)
    requests: list[str] = []
    page = visitor.open("about:blank")
    page.on("request", lambda request: requests.append(request.method))
    page.goto(f"{site.url}/jobs/{job_id}?view=draft")
    expect(page.locator("[data-connection]")).to_have_text("live")
    expect(page.get_by_role("link", name="Draft", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Make a draft")).to_have_count(0)
    expect(page.get_by_role("link", name="Result", exact=True)).to_have_attribute("aria-current", "true")
    assert set(requests) == {"GET"}
    workshop.connect("drafts", "cpu", methods=["fast"])
    # Some of the news come when the web process knows of it.
    workshop.claim(job_id)
    step = 0

    def is_offered() -> bool:
        nonlocal step
        step += 1
        workshop.checkpoint(job_id, step, after=step - 1)
        return page.get_by_role("link", name="Draft", exact=True).count() == 1

    wait_until(is_offered, seconds=60)
    make(site)
    expect(page.locator("img.draft")).to_be_attached()


@pytest.mark.usefixtures("light")
def test_several_open_pages_make_one_draft(visitor: Visitor, site: Site):
    job_id = submit(site)
    pages = [visit(visitor, site, job_id) for _ in range(3)]
    wait_until(lambda: len(jobs_of(site, "draft")) == 3, seconds=60)
    leaders = {one["id"]: one["leader_id"] for one in jobs_of(site, "draft")}
    (first,) = [draft_id for draft_id, leader in leaders.items() if leader is None]
    assert {leader for leader in leaders.values() if leader} == {first}
    for page in pages:
        page.get_by_role("link", name="Draft", exact=True).click()
        expect(in_its_place(page)).to_contain_text("Making the draft …")  # whichever of them is the one
    site.workshop.claim(first, worker_id="drafts")
    site.workshop.succeed(first)
    assert followers_settle(site) == 2
    for page in pages:
        expect(page.locator("[data-stage]")).to_have_attribute("data-kind", "draft")
    assert {one["worker_id"] for one in (site.job(draft)["attempt"] for draft in leaders)} == {"drafts", None}


@pytest.mark.usefixtures("light")
def test_a_page_that_nobody_sees_asks_for_no_draft(visitor: Visitor, site: Site):
    job_id = submit(site)
    page = visitor.open("about:blank")
    page.add_init_script("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.goto(f"{site.url}/jobs/{job_id}")
    expect(page.locator("[data-connection]")).to_have_attribute("data-state", "polling")
    assert jobs_of(site, "draft") == []
    page.evaluate(_HIDE, False)
    make(site)
    expect(page.locator("[data-stage]")).to_have_attribute("data-kind", "draft")


@pytest.mark.usefixtures("light")
def test_a_draft_under_way_ends_with_the_job_and_with_the_page(
    visitor: Visitor, site: Site, workshop: Workshop
):
    job_id = submit(site)
    page = visit(visitor, site, job_id)
    first = next_draft(site)["id"]
    site.act(job_id, "cancel")
    expect(page.locator(".badge").first).to_have_text("canceled")
    wait_until(lambda: site.job(first)["status"] == "canceled", seconds=60)
    # Whoever has chosen it gets it, of a job that has ended as well; but not after the page is left.
    page.get_by_role("link", name="Draft", exact=True).click()
    second = next_draft(site)["id"]
    page.goto(f"{site.url}/workers")
    wait_until(lambda: site.job(second)["status"] == "canceled", seconds=60)
    page.go_back()
    make(site)
    expect(page.locator("img.draft")).to_be_visible()


@pytest.mark.usefixtures("light")
def test_a_draft_whose_picture_is_slow_holds_up_no_preview(visitor: Visitor, site: Site, workshop: Workshop):
    job_id = submit(site)
    workshop.claim(job_id)
    held: list[Route] = []
    page = visitor.open("about:blank")
    page.route("**/output?v=*", lambda route: held.append(route))
    page.goto(f"{site.url}/jobs/{job_id}")
    with page.expect_request("**/output?v=*"):
        make(site)
    workshop.progress(job_id, 4)
    expect(shown(page)).to_have_attribute("src", re.compile(r"/preview\?step=4$"))
    page.unroute("**/output?v=*")
    page.get_by_role("link", name="Draft", exact=True).click()
    expect(page.locator("img.draft")).to_be_visible()
    expect(page.locator("[data-caption]")).to_have_text("Preview at step 4")
    expect(page.locator("[data-stage]")).to_have_attribute("data-kind", "preview")


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_draft_and_result_are_compared_by_keys(visitor: Visitor, site: Site, workshop: Workshop, width: int):
    job_id = submit(site)
    page = visit(visitor, site, job_id, "?view=compare", width=width)
    lefts = page.get_by_role("group", name="Left of the slider")
    make(site)
    expect(page.locator("[data-stage]")).to_have_attribute("data-kind", "draft")
    expect(lefts).to_be_hidden()  # content and draft: there is no third picture yet
    workshop.run_through(job_id)
    expect(page.locator("[data-corner]")).to_have_text("result")
    expect(lefts).to_be_visible()
    slider = page.get_by_role("slider", name="to the left, picture to the right")
    expect(slider).to_have_attribute("aria-label", "Content to the left, picture to the right")
    expect(page.get_by_role("img", name="Content: content.png")).to_be_visible()
    expect(page.locator("img.draft")).to_be_hidden()
    lefts.get_by_role("link", name="content").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(lefts.get_by_role("link", name="draft")).to_have_attribute("aria-current", "true")
    expect(page.locator("img.draft")).to_be_visible()
    page.keyboard.press("Tab")
    expect(slider).to_be_focused()
    expect(slider).to_have_attribute("aria-label", "Draft to the left, picture to the right")
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "100 % draft")
    # What is chosen is in the address, for a reload or somebody else.
    assert page.url.endswith("?view=compare&left=draft")
    page.reload()
    expect(page.locator("img.draft")).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", "50 % draft")
    page.get_by_role("link", name="Step 20").click()
    expect(page.locator("[data-corner]")).to_have_text("checkpoint")
    expect(page.locator("img.draft")).to_be_visible()
    lefts.get_by_role("link", name="content").click()
    expect(page.locator("img.draft")).to_be_hidden()
    expect(slider).to_have_attribute("aria-valuetext", "50 % content")
    assert page.url.endswith("?step=20&view=compare")


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("shape", [(400, 1600), (1600, 120)])
def test_a_narrow_picture_leaves_room_for_what_is_said_and_chosen(
    visitor: Visitor, site: Site, workshop: Workshop, shape: tuple[int, int]
):
    drawn = io.BytesIO()
    Image.radial_gradient("L").resize(shape).save(drawn, "PNG")
    job_id: str = site.submit(content=drawn.getvalue())["id"]
    workshop.run_through(job_id)
    page = visit(visitor, site, job_id, "?view=draft", width=_SMALL_PHONE)
    mat, said = page.locator("[data-stage]"), in_its_place(page).locator("> div")
    next_draft(site)
    assert is_inside(said.bounding_box(), mat.bounding_box())
    make(site)
    expect(page.locator("img.draft")).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    lefts = page.get_by_role("group", name="Left of the slider")
    lefts.get_by_role("link", name="draft").click()
    expect(lefts.get_by_role("link", name="draft")).to_have_attribute("aria-current", "true")
    assert is_inside(lefts.bounding_box(), mat.bounding_box())
    assert not do_meet(lefts.bounding_box(), page.locator("[data-corner]").bounding_box())
    assert page.evaluate("document.documentElement.scrollWidth") == _SMALL_PHONE


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_nothing_jumps_when_the_draft_arrives(visitor: Visitor, site: Site, width: int):
    page = visit(visitor, site, submit(site), width=width)
    expect(page.locator("[data-connection]")).to_have_text("live")
    page.evaluate("takeShift()")
    make(site)
    expect(page.get_by_role("link", name="Open the picture")).to_be_visible()
    expect(page.locator("[data-caption]")).to_contain_text("A draft by")
    assert page.evaluate("takeShift()") < 0.01


@pytest.mark.usefixtures("light")
def test_without_scripts_a_button_makes_the_draft_and_links_compare_with_it(
    visitor: Visitor, site: Site, workshop: Workshop
):
    job_id = submit(site)
    workshop.run_through(job_id)
    page = visit(visitor, site, job_id, scripts=False)
    assert jobs_of(site, "draft") == []
    page.get_by_role("button", name="Make a draft").click()
    expect(page).to_have_url(re.compile(r"\?view=draft$"))
    expect(page.get_by_text("Making the draft …")).to_be_visible()
    make(site)
    # The page looks again by itself until it is there.
    expect(page.get_by_role("img", name="Draft of Harbour")).to_be_visible()
    expect(page.get_by_role("button", name="Make a draft")).to_have_count(0)
    page.get_by_role("link", name="Compare").click()
    lefts = page.get_by_role("group", name="Left of the slider")
    lefts.get_by_role("link", name="draft").click()
    expect(lefts.get_by_role("link", name="draft")).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("img", name="Draft of Harbour")).to_be_visible()
    expect(page.get_by_role("img", name="Result of Harbour")).to_be_visible()


@pytest.mark.usefixtures("light")
def test_without_scripts_a_refusal_is_said_as_of_any_form(visitor: Visitor, site: Site):
    visitor.expects("429.*/draft")
    for number in range(site.settings.max_drafts):
        site.submit(kind="draft", content=OWL.read_bytes(), options={"size": 64 + number})
    page = visit(visitor, site, submit(site), "?view=draft", scripts=False)
    page.get_by_role("button", name="Make a draft").click()
    expect(page.get_by_role("alert")).to_contain_text("8 of your drafts are under way")
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("link", name="Compare")).to_have_attribute("aria-current", "true")

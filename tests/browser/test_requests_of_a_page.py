"""What a page asks for: its modules all at once, and no file a second time."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from tests.support.visitor import Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop

_FILES = """() => performance.getEntriesByType("resource")
  .filter((entry) => entry.name.includes("/static/"))
  .map(({ name, transferSize }) => ({ name, transferSize }))"""
_NAMED = """() => [...document.querySelectorAll("script[type=module]")].map((script) => script.src)"""
#: Whether such a picture comes at all depends on what else the page has shown by then.
_LATER = """() => [...document.querySelectorAll("img[loading=lazy]")].map((image) => image.src)"""
PAGES = {"jobs": "/", "new": "/new", "job": "/jobs/{id}", "workers": "/workers"}


@pytest.fixture
def job_id(site: Site, workshop: Workshop) -> str:
    made: str = site.submit(name="Harbour", options={"steps": 40})["id"]
    workshop.connect()
    return made


def files_of(page: Page) -> list[dict[str, Any]]:
    """Return the static files of the page that is open; `transferSize` is 0 of what the browser had kept."""
    found: list[dict[str, Any]] = page.evaluate(_FILES)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_each_file_once_and_for_its_modules_at_once(
    site: Site, visitor: Visitor, job_id: str, name: str
):
    url = site.url + PAGES[name].format(id=job_id)
    page = visitor.open("about:blank")
    asked_by: dict[str, str] = {}
    devtools = page.context.new_cdp_session(page)
    devtools.on(
        "Network.requestWillBeSent",
        lambda sent: asked_by.update({sent["request"]["url"]: sent["initiator"].get("url", "")}),
    )
    devtools.send("Network.enable")
    page.goto(url)
    page.wait_for_load_state("load")
    cold = files_of(page)
    names = [entry["name"] for entry in cold]
    assert len(names) == len(set(names))
    modules = {file for file in names if "/js/" in file and not file.endswith("/theme.js")}
    assert modules == set(page.evaluate(_NAMED))
    # The page names them, none is found in another one that had come.
    assert {asked_by[module] for module in modules} == {url}
    assert all(entry["transferSize"] > 0 for entry in cold)

    page.goto(url)
    page.wait_for_load_state("load")
    warm = files_of(page)
    later = set(page.evaluate(_LATER))
    assert {entry["name"] for entry in warm} - later == set(names) - later
    fetched = {entry["name"] for entry in warm if entry["transferSize"] > 0}
    assert not fetched & set(names)


def test_the_next_page_asks_for_what_no_other_had(site: Site, visitor: Visitor, job_id: str):
    page = visitor.open(site.url)
    page.wait_for_load_state("load")
    had = {entry["name"] for entry in files_of(page)}
    page.goto(f"{site.url}/workers")
    page.wait_for_load_state("load")
    fetched = {urlsplit(entry["name"]).path for entry in files_of(page) if entry["transferSize"] > 0}
    assert {path.rpartition("/")[2] for path in fetched} == {"workers.css", "workers.js"}
    assert not fetched & {urlsplit(file).path for file in had}

"""The form of the page 'New job', as a visitor fills it in."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.support.waiting import wait_until
from tests.support.website import EXAMPLES, Site

#: What a worker says of itself that makes drafts alone.
DRAFT_WORKER = {"methods": ["fast"], "worker_id": "drafts", "device": "cpu"}
CONTENT, STYLE = EXAMPLES / "content.png", EXAMPLES / "style.png"
#: Lets files come over the page as they do from a desktop or the clipboard.
_BRING = """
([kind, selector, files]) => {
  const transfer = new DataTransfer();
  for (const { name, type, data } of files) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  const target = document.querySelector(selector);
  const both = { bubbles: true, cancelable: true };
  if (kind === "paste") {
    target.dispatchEvent(new ClipboardEvent("paste", { ...both, clipboardData: transfer }));
    return;
  }
  for (const name of ["dragenter", "dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(name, { ...both, dataTransfer: transfer }));
  }
}
"""


def well(page: Page, part: str) -> Locator:
    """Return one half of the page: Content or Style."""
    return page.get_by_role("region", name=part)


def choose(page: Page, part: str, file: Any) -> None:
    """Choose a file for a half with the browser's own dialogue."""
    page.locator(f"#{part.lower()}").set_input_files(file)


def choose_both(page: Page) -> None:
    """Choose the example pictures, and see them there."""
    choose(page, "Content", CONTENT)
    choose(page, "Style", STYLE)
    expect(well(page, "Content")).to_contain_text("768 × 512 px")
    expect(well(page, "Style")).to_contain_text("640 × 512 px")


def bring(page: Page, kind: str, selector: str, *paths: Path) -> None:
    """Drop or paste files onto an element."""
    files = [
        {"name": path.name, "type": "image/png", "data": base64.b64encode(path.read_bytes()).decode()}
        for path in paths
    ]
    page.evaluate(_BRING, [kind, selector, files])


def fold(page: Page, name: str) -> None:
    """Open Options or More."""
    page.locator("summary").filter(has_text=name).click()


def start(page: Page) -> None:
    """Submit the form."""
    page.get_by_role("button", name="Start the job").click()


def job_on(page: Page, site: Site) -> dict[str, Any]:
    """Return the job whose page a visitor has come to."""
    expect(page).to_have_url(re.compile("/jobs/[0-9a-f-]{36}$"))
    return site.job(page.url.rsplit("/", 1)[1])


def jobs_of(site: Site, kind: str = "job") -> list[dict[str, Any]]:
    """Return all jobs there are, newest first; drafts are another kind."""
    url = f"{site.url}/api/v1/jobs?kind={kind}"
    jobs: list[dict[str, Any]] = httpx2.get(url, timeout=60).json()["jobs"]
    return jobs


def next_draft(site: Site, *, style: str = "") -> dict[str, Any]:
    """Return the newest draft under way, in a style with this file name, as soon as there is one."""

    def found() -> list[dict[str, Any]]:
        return [
            one
            for one in jobs_of(site, "draft")
            if one["status"] == "queued" and style in one["input"]["style"]["filename"]
        ]

    wait_until(lambda: bool(found()), seconds=60)
    return found()[0]


def make_draft(site: Site, draft: dict[str, Any]) -> None:
    """Do what the worker of drafts does."""
    site.workshop.claim(draft["id"], worker_id="drafts")
    site.workshop.succeed(draft["id"])


def picture_of_draft(page: Page) -> Locator:
    """Return the draft's picture on the page."""
    return page.locator("[data-draft] [data-shown] img")


def sent_from(page: Page) -> list[str]:
    """Note what the page sends from now on: method and path."""
    requests: list[str] = []

    def note(request: Request) -> None:
        if request.method != "GET":
            requests.append(f"{request.method} {request.url.partition('/api/v1')[2]}")

    page.on("request", note)
    return requests


def catch_jobs(page: Page, handle: Callable[[Route], object]) -> None:
    """Let requests that hand jobs in be handled otherwise; those for drafts go on."""

    def sort(route: Route) -> None:
        body = route.request.post_data_json if route.request.method == "POST" else None
        if body is None or body.get("kind") == "draft":
            route.continue_()
        else:
            handle(route)

    page.route("**/api/v1/jobs", sort)

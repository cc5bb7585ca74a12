"""One visit from end to end: the whole service, the real engine, real files, one person with a browser."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Page, expect

from tests.browser.new_job_form import CONTENT, STYLE, choose, choose_both, fold, picture_of_draft, start
from tests.browser.test_screens import SCREENS
from tests.support.service import Service
from tests.support.visitor import PHONE, Visitor
from tests.support.waiting import wait_until

STEPS, EVERY = 60, 10
#: Waits until the browser has decoded a picture, and returns its size in pixels.
_DECODED = (
    "async (picture) => { await picture.decode(); return [picture.naturalWidth, picture.naturalHeight]; }"
)
_JOB_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_a_visit_from_two_pictures_to_a_download(service: Service, visitor: Visitor, tmp_path: Path):
    page = visitor.open(service.url)
    page.get_by_role("link", name="New job").first.click()
    choose_both(page)
    fold(page, "Options")
    page.get_by_label("Steps", exact=True).fill(str(STEPS))
    page.get_by_label("Size (px)").fill("160")
    page.get_by_label("Checkpoint every (steps)").fill(str(EVERY))
    fold(page, "More")
    page.get_by_label("Name").fill("Harbour at dusk")
    start(page)

    standing, stage = page.locator("[data-part=standing]"), page.locator("[data-shown] img")
    previews = _watch_previews(page, several=3)
    assert len(previews) == 3

    page.get_by_role("button", name="Pause").click()
    expect(standing).to_contain_text("paused")
    paused_at = _step(page)
    assert 0 < paused_at < STEPS
    page.get_by_role("button", name="Resume").click()
    expect(standing).to_contain_text("running", timeout=60_000)
    page.screenshot(path=SCREENS / "visit-running.png", full_page=True)
    expect(standing).to_contain_text("succeeded", timeout=120_000)

    attempts = page.locator("[data-part=attempts] tbody tr")
    expect(attempts).to_have_count(2)
    expect(attempts.nth(1)).to_contain_text(str(paused_at))

    # Scrub to the first checkpoint by keyboard, and back to the result.
    scrubber = page.get_by_label("Checkpoint", exact=True)
    scrubber.focus()
    page.keyboard.press("Home")
    first = min(EVERY, paused_at)  # a pause is a checkpoint, too
    expect(page.locator("[data-caption]")).to_contain_text(f"Checkpoint of step {first}")
    expect(stage).to_have_attribute("src", re.compile(rf"/checkpoints/{first}\b"))
    page.keyboard.press("End")
    expect(page.locator("[data-caption]")).to_contain_text("Result of 160 ×")
    expect(stage).to_have_js_property("complete", True)
    page.screenshot(path=SCREENS / "visit-succeeded.png", full_page=True)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    picture = tmp_path / "picture.png"
    download.value.save_as(picture)
    assert download.value.suggested_filename == "Harbour at dusk.png"
    with service.client() as client:
        job = client.get(f"/jobs/{page.url.rsplit('/', 1)[-1].partition('#')[0]}").json()
    assert hashlib.sha256(picture.read_bytes()).hexdigest() == job["outputs"][0]["sha256"]
    assert job["attempt"]["resumed_from_step"] == paused_at

    page.get_by_role("link", name="Jobs").first.click()
    card = page.get_by_role("link", name="Harbour at dusk")
    expect(card.first).to_be_visible()


def test_a_visit_without_scripts(service: Service, visitor: Visitor, tmp_path: Path):
    page = visitor.open(f"{service.url}/new", scripts=False, width=PHONE)
    page.get_by_label("Content picture").set_input_files(CONTENT)
    page.get_by_label("Style picture").set_input_files(STYLE)
    fold(page, "Options")
    page.get_by_label("Steps", exact=True).fill("3")
    page.get_by_label("Size (px)").fill("64")
    start(page)
    # The page loads itself again until the job is done.
    expect(page.locator("[data-part=standing]")).to_contain_text("succeeded", timeout=120_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_draft_is_seen_beside_a_long_job(service: Service, visitor: Visitor):
    with service.client() as client:
        job = _long_job(client)
        try:
            assert _job(client, job["id"], until="running")["attempt"]["worker_id"] == "worker-1"
            page = visitor.open(f"{service.url}/new")
            # The other way round: of the usual pair there may be one that is given at once.
            choose(page, "Content", STYLE)
            choose(page, "Style", CONTENT)
            picture = picture_of_draft(page)
            expect(picture).to_be_visible(timeout=60_000)
            assert picture.evaluate(_DECODED) == [512, 410]
            draft = client.get(f"/jobs/{_JOB_ID.findall(str(picture.get_attribute('src')))[0]}").json()
            assert (draft["kind"], draft["status"]) == ("draft", "succeeded")
            assert draft["attempt"]["worker_id"] == "drafts"
            # It came while the other worker was at the long job, whose first it still is.
            now = client.get(f"/jobs/{job['id']}").json()
            assert (now["status"], now["attempt"]["number"]) == ("running", 1)
        finally:
            client.post(f"/jobs/{job['id']}/cancel").raise_for_status()
            _job(client, job["id"], until="canceled")


def _long_job(client: httpx2.Client) -> dict[str, Any]:
    """Hand in a job that takes longer than any test."""
    ids = {}
    for part, path in (("content", CONTENT), ("style", STYLE)):
        answer = client.post("/assets", files={"file": (path.name, path.read_bytes())})
        ids[part] = answer.raise_for_status().json()["id"]
    options = {"steps": 2000, "size": 256}
    job = client.post("/jobs", json={**ids, "options": options}).raise_for_status().json()
    return dict(job)


def _job(client: httpx2.Client, job_id: str, *, until: str) -> dict[str, Any]:
    """Return a job as soon as it has a status."""
    seen: dict[str, Any] = {}

    def is_there() -> bool:
        seen.update(client.get(f"/jobs/{job_id}").json())
        return bool(seen["status"] == until)

    wait_until(is_there, seconds=120, what=f"the job is {until}")
    return seen


def _watch_previews(page: Page, *, several: int) -> list[str]:
    """Return the addresses of so many different previews, in the order in which they were shown."""
    seen: list[str] = []
    stage = page.locator("[data-shown] img")
    while len(seen) < several:
        known = "|".join(re.escape(address) for address in seen) or "nothing yet"
        expect(stage).to_have_attribute(
            "src", re.compile(rf"^(?!(?:{known})$).*/preview\?step=\d+$"), timeout=120_000
        )
        seen.append(str(stage.get_attribute("src")))
    return seen


def _step(page: Page) -> int:
    words = page.locator("[data-step]").first.inner_text()
    found = re.search(r"step (\d+) of", words)
    assert found, words
    return int(found[1])

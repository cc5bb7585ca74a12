"""Every page in both themes, on a desktop and a phone: written to build/screens for people to look at.

A page of yours is one line in PAGES: its name, and a function which brings it about and returns its path.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response

from shared.clock import utc_now
from shared.redis.workers import WorkerJob, WorkerState
from tests.browser.accessibility import find_faults, find_keyboard_faults
from tests.support.visitor import DESKTOP, PHONE, Theme, Visitor
from tests.support.website import Site
from web.access.tokens import LOCAL_CALLER
from web.jobs.fields import ShareBody
from web.jobs.sharing import share_job
from web.webhooks.message import Answer, decide_next
from web.webhooks.outbox import ENDS, list_deliveries, note_attempt
from web.webhooks.subscriptions import put_webhook, rotate_secret

SCREENS = Path(__file__).parents[2] / "build" / "screens"
MAX_FIRST_LOAD_BYTES = 100_000
_PICTURES = {"image", "media", "eventsource"}


def jobs_empty(site: Site) -> str:
    return "/"


def jobs(site: Site) -> str:
    work = site.workshop
    work.connect()
    names = ("Harbour in the evening", "Grandmother's garden", "Old town", "Market", "Bridge", "Night train")
    made = [site.submit(name=name, labels={"series": "town"})["id"] for name in names]
    work.run_through(made[0], every=50)
    work.run_through(made[1], every=50)
    work.claim(made[2])
    work.fail(made[2])
    work.claim(made[3])
    work.checkpoint(made[3], 40)
    work.pause(made[3], 40)
    work.claim(made[4])
    work.progress(made[4], 62)
    return "/"


def new(site: Site) -> str:
    site.workshop.connect()
    return "/new"


def new_from_job(site: Site) -> str:
    site.workshop.connect("drafts", "cpu", methods=["fast"])
    site.workshop.run_through(site.submit(kind="draft")["id"])
    job = site.submit(name="Harbour", options={"steps": 150}, labels={"series": "town"})
    site.workshop.run_through(job["id"], every=50)
    return f"/new?from={job['id']}"


def job_draft(site: Site) -> str:
    draft = site.submit(name="Harbour", kind="draft")
    site.workshop.run_through(draft["id"])
    return f"/jobs/{draft['id']}"


def job_beside_draft(site: Site) -> str:
    site.workshop.run_through(site.submit(kind="draft")["id"])
    return f"{job_running(site)}?view=compare&left=draft"


def job_without_draft(site: Site) -> str:
    site.workshop.connect("drafts", "cpu", methods=["fast"])
    return f"{job_succeeded(site)}?view=draft"


def job_queued(site: Site) -> str:
    return f"/jobs/{site.submit(name='Harbour')['id']}"


def job_running(site: Site) -> str:
    job_id: str = site.submit(name="Harbour", labels={"series": "town"})["id"]
    site.workshop.connect()
    site.workshop.claim(job_id)
    for step in (10, 20, 30, 40):
        site.workshop.checkpoint(job_id, step, after=step - 10)
    site.workshop.progress(job_id, 47)
    return f"/jobs/{job_id}"


def job_succeeded(site: Site) -> str:
    job_id: str = site.submit(name="Harbour")["id"]
    site.workshop.run_through(job_id)
    return f"/jobs/{job_id}"


def job_failed(site: Site) -> str:
    job_id: str = site.submit(name="Harbour")["id"]
    site.workshop.claim(job_id)
    site.workshop.checkpoint(job_id, 10)
    site.workshop.fail(job_id)
    return f"/jobs/{job_id}"


def share(site: Site) -> str:
    job_id: str = site.submit(name="Harbour", labels={"series": "town"})["id"]
    site.workshop.run_through(job_id)
    return share_of(site, job_id)


def share_running(site: Site) -> str:
    return share_of(site, job_running(site).removeprefix("/jobs/"))


def share_of(site: Site, job_id: str) -> str:
    body = ShareBody(of="page")
    made = share_job(site.services.backend, job_id, body, caller=LOCAL_CALLER, now=utc_now())
    return made.url.removeprefix(site.url)


def share_gone(site: Site) -> str:
    return "/share/nonsense"


def workers(site: Site) -> str:
    job_id = site.submit(name="Harbour in the evening")["id"]
    site.submit(name="Old town")
    work = site.workshop
    work.claim(job_id)
    work.progress(job_id, 47)
    job = WorkerJob(job_id=job_id, attempt=1, step=47, steps=100, since=utc_now() - timedelta(seconds=42))
    memory = {"host": "studio", "memory_total_bytes": 150_754_820_096, "version": "0.1.0"}
    notice = "The network behind this picture was never trained."
    busy = {**memory, "memory_used_bytes": 31_457_280_000, "notice": notice, "job": job}
    work.connect("studio-gpu0", "cuda:0 (NVIDIA H200)", state=WorkerState.BUSY, **busy)
    work.connect("studio-gpu1", "cuda:1 (NVIDIA H200)", memory_used_bytes=1_200_000_000, **memory)
    work.connect("studio-gpu2", "cuda:2 (NVIDIA H200)", state=WorkerState.DRAINING, **memory)
    work.connect("attic", "cpu", state=WorkerState.STARTING, host="attic", version="0.1.0")
    return "/workers"


def workers_empty(site: Site) -> str:
    site.submit()
    return "/workers"


def webhooks(site: Site) -> str:
    now, backend = utc_now(), site.services.backend
    with backend.database.write() as session:
        for name, url in (("default", None), ("ci", "https://ci.example.com/hooks/atelier?key=" + "k" * 60)):
            row, _ = put_webhook(session, name, caller="local", url=url, events=ENDS, now=now)
        rotate_secret(session, row, now=now)
    for act in (site.workshop.succeed, site.workshop.fail):
        job_id = site.submit()["id"]
        site.workshop.claim(job_id)
        act(job_id)
    with backend.database.write() as session:
        told = list_deliveries(session, caller="local", limit=2).all()
        answers = (Answer(204), Answer(500, text="<html>the receiver is being repaired"))
        for delivery, answer in zip(told, answers, strict=True):
            step = decide_next(answer, attempt=1, until=delivery.until, is_once=False, now=now, chance=0.5)
            note_attempt(session, delivery, answer, step, started_at=now, seconds=0.21, now=now)
    return "/webhooks"


def webhooks_empty(site: Site) -> str:
    return "/webhooks"


def docs(site: Site) -> str:
    return "/docs"


def problem(site: Site) -> str:
    return "/nowhere"


PAGES: dict[str, Callable[[Site], str]] = {
    "jobs-empty": jobs_empty,
    "jobs": jobs,
    "new": new,
    "new-from-job": new_from_job,
    "job-draft": job_draft,
    "job-beside-draft": job_beside_draft,
    "job-without-draft": job_without_draft,
    "job-queued": job_queued,
    "job-running": job_running,
    "job-succeeded": job_succeeded,
    "job-failed": job_failed,
    "share": share,
    "share-running": share_running,
    "share-gone": share_gone,
    "workers": workers,
    "workers-empty": workers_empty,
    "webhooks": webhooks,
    "webhooks-empty": webhooks_empty,
    "docs": docs,
    "problem": problem,
}


#: What a script brings after the page is there.
SEEN = {
    "new-from-job": "[data-draft] [data-shown] img",
    "job-without-draft": "[data-no-draft-words][data-busy]",
}


@pytest.mark.parametrize("name", PAGES)
def test_page(site: Site, visitor: Visitor, name: str):
    """Both themes and widths in one test: what the page shows is made once."""
    visitor.expects(r"404.*/(nowhere|share/nonsense)")
    path = PAGES[name](site)
    themes: tuple[Theme, ...] = ("light", "dark")
    problems: list[str] = []
    for theme in themes:
        for width in (DESKTOP, PHONE):
            page = visitor.open(site.url + path, theme=theme, width=width)
            page.evaluate("document.fonts.ready")
            if name in SEEN:
                page.locator(SEEN[name]).wait_for()
            SCREENS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENS / f"{name}-{theme}-{width}.png", full_page=True)
            faults = find_faults(page, colours_only=theme != themes[0]) + too_wide(page)
            if width == DESKTOP:
                faults += find_keyboard_faults(page)
            problems += [f"{theme} {width}: {fault}" for fault in faults]
            page.context.close()
    assert not problems, "\n".join(problems[:20])


@pytest.mark.parametrize("name", PAGES)
def test_first_load_is_small(site: Site, visitor: Visitor, name: str):
    visitor.expects(r"404.*/(nowhere|share/nonsense)")
    path = PAGES[name](site)
    page = visitor.open("about:blank")
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(site.url + path)
    sizes = {
        answer.url.removeprefix(site.url): answer.request.sizes()["responseBodySize"]  # as it is sent
        for answer in answers
        if answer.request.resource_type not in _PICTURES
    }
    assert sum(sizes.values()) < MAX_FIRST_LOAD_BYTES, sizes


def too_wide(page: Page) -> list[str]:
    """Return what makes a page scroll sideways, if it does."""
    wide: list[str] = page.evaluate(
        """() => document.documentElement.scrollWidth <= innerWidth ? [] :
          [...document.body.querySelectorAll("*")]
            .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
            .slice(0, 5)
            .map((element) => `wider than the window: <${element.localName} class="${element.className}">`)"""
    )
    return wide

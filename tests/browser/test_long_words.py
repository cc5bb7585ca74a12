"""The longest texts that the service can produce, on every page at three widths: nothing is torn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from shared.clock import utc_now
from shared.errors import EngineFailed
from shared.redis.workers import WorkerJob, WorkerState
from tests.support.visitor import Visitor
from tests.support.website import Site

_WIDTHS = (1440, 768, 390)
WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2
PATH = "/srv/" + "a-very-long-folder/" * 30 + "vgg19_weights_tf_dim_ordering_tf_kernels.h5"
LABELS = {f"{number:02d}-{'k' * 60}": "v" * 200 for number in range(16)}

#: What sticks out of the window to the right, unless it is in a part that scrolls by itself.
_TORN = """() => {
  const width = document.documentElement.clientWidth;
  const scrolls = (node) => {
    for (let at = node; at && at !== document.body; at = at.parentElement) {
      if (getComputedStyle(at).overflowX !== "visible") return true;
    }
    return false;
  };
  const isTorn = (node) => {
    const box = node.getBoundingClientRect();
    return box.width > 0 && box.right > width + 1 && node.checkVisibility() && !scrolls(node);
  };
  const torn = [...document.body.querySelectorAll("*")].filter(isTorn).slice(0, 3);
  const words = torn.map((node) => `${node.tagName}.${node.className} ${node.textContent.slice(0, 60)}`);
  const more = document.documentElement.scrollWidth - width;
  return more > 0 ? [`scrolls by ${more} px`, ...words] : words;
}"""


def gallery(site: Site) -> str:
    for name in (WORD, PATH[:200], "short"):
        site.submit(name=name, labels=LABELS)
    return "/"


def running(site: Site) -> str:
    job_id = site.submit(name=WORD, labels=LABELS)["id"]
    _connect(site)
    site.workshop.claim(job_id, worker_id=WORD[:64])
    site.workshop.checkpoint(job_id, 10)
    return f"/jobs/{job_id}"


def failed(site: Site) -> str:
    job_id = site.submit(name=WORD, labels=LABELS)["id"]
    site.workshop.claim(job_id)
    site.workshop.fail(job_id, EngineFailed(f"InternalError: {PATH}: {WORD}"))
    return f"/jobs/{job_id}"


def succeeded(site: Site) -> str:
    job_id = site.submit(name=WORD, labels=LABELS)["id"]
    site.workshop.run_through(job_id)
    return f"/jobs/{job_id}"


def new(site: Site) -> str:
    job_id = site.submit(name=WORD, labels=LABELS)["id"]
    return f"/new?from={job_id}"


def workers(site: Site) -> str:
    job_id = site.submit(name=WORD)["id"]
    site.workshop.claim(job_id)
    _connect(site, WorkerJob(job_id=job_id, attempt=1, step=4, steps=100, since=utc_now()))
    return "/workers"


def docs(site: Site) -> str:
    return "/docs"


def problem(site: Site) -> str:
    return f"/jobs/{WORD}"


def _connect(site: Site, job: WorkerJob | None = None) -> None:
    told = {"notice": f"The weights could not be had ({PATH}).", "host": WORD[:64], "version": WORD[:60]}
    state = WorkerState.BUSY if job else WorkerState.IDLE
    site.workshop.connect(WORD[:64], f"cuda:0 ({WORD[:64]})", state=state, job=job, **told)
    site.workshop.connect("b", state=WorkerState.UNHEALTHY, reason=f"{PATH}: {WORD}", **told)


PAGES: list[Callable[[Site], str]] = [gallery, running, failed, succeeded, new, workers, docs, problem]


@pytest.mark.parametrize("make", PAGES, ids=lambda make: make.__name__)
def test_nothing_is_wider_than_the_window(site: Site, visitor: Visitor, make: Callable[[Site], str]):
    visitor.expects(r"404.*/jobs/")
    page: Page = visitor.open(f"{site.url}{make(site)}")
    torn = {}
    for width in _WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        torn[width] = page.evaluate(_TORN)
    assert torn == {width: [] for width in _WIDTHS}


def test_the_sheets_of_menus_stay_inside_the_window(site: Site, visitor: Visitor):
    """Also that of a button which stands at the window's edge, as Delete does on a phone."""
    page = visitor.open(f"{site.url}{succeeded(site)}")
    for width in _WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for name in ("extend", "delete"):
            page.locator(f"#{name} > summary").click()
            box = page.locator(f"#{name} .menu-sheet").bounding_box()
            assert box is not None
            assert (box["x"] >= 0, box["x"] + box["width"] <= width) == (True, True), (name, width, box)
            page.locator(f"#{name} > summary").click()


def test_the_figures_of_the_queue_fill_their_rows(site: Site, visitor: Visitor):
    page = visitor.open(f"{site.url}/workers")
    for width in (*_WIDTHS, 820):
        page.set_viewport_size({"width": width, "height": 900})
        counts = page.locator(".figures > div").evaluate_all(
            """(figures) => Object.values(Object.groupBy(figures, (one) => one.offsetTop))
              .map((row) => row.length)"""
        )
        assert len(set(counts)) == 1, (width, counts)


def test_identifiers_in_the_documentation_are_broken_only_where_they_must(site: Site, visitor: Visitor):
    """None is broken that fits into the page's width, so that each can be read and copied as it is."""
    page = visitor.open(f"{site.url}/docs")
    for width in _WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        broken = page.locator(".reference td:first-child code").evaluate_all(
            """(codes) => codes.filter((code) => code.getClientRects().length > 1)
              .map((code) => code.textContent).filter((text) => text.length < 30)"""
        )
        assert broken == [], width


def test_a_card_shows_three_labels_and_how_many_more_there_are(site: Site, visitor: Visitor):
    site.submit(name="Harbour", labels={f"key-{number:02d}": "value" for number in range(16)})
    card = visitor.open(site.url).locator(".job-card")
    assert card.locator(".labels li").all_inner_texts() == [
        "key-00:value", "key-01:value", "key-02:value", "+13",
    ]  # fmt: skip

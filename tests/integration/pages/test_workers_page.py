"""The page of workers without scripts."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser

import pytest
from sqlalchemy import update

from shared.clock import utc_now
from shared.protocol import PROTOCOL
from shared.redis.workers import WorkerBeat, WorkerJob, WorkerRegistry, WorkerState
from shared.settings import Settings
from tests.support.installation import names_of
from web.app import create_app
from web.db.models import Job
from web.services import services_of

BROWSER = {"Accept": "text/html"}


class Seen(HTMLParser):
    """What is in a page: workers with their forms, links, notices that are shown, and figures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.figures: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.workers: list[str] = []
        self.refreshes = False
        self._stack: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        self.refreshes |= given.get("http-equiv") == "refresh"
        if tag not in ("img", "meta", "link", "input", "br"):
            self._stack.append((tag, given))
        if self._is_there() and tag == "li" and "data-worker" in given:
            self.workers.append(given["data-worker"])
        if self._is_there() and tag == "form":
            self.forms[self.workers[-1]] = given["action"]

    def handle_endtag(self, tag):
        while self._stack and self._stack.pop()[0] != tag:
            pass

    def handle_data(self, data):
        words = " ".join(data.split())
        if not words or not self._is_there():
            return
        tag, given = self._stack[-1]
        if "data-figure" in given:
            self.figures[given["data-figure"]] = words
        if tag == "a":
            self.links[words] = given["href"]
        for name in ("data-message", "data-count", "data-state"):
            if name in given:
                self.shown[name] = words
        if given.get("role") == "alert":
            self.shown["alert"] = words
        if "data-empty" in {key for _, attributes in self._stack for key in attributes}:
            self.shown["empty"] = words

    def _is_there(self) -> bool:
        return not any("hidden" in given for _, given in self._stack)


def beat(worker_id: str = "gpu-a", **changes: object) -> WorkerBeat:
    now = utc_now()
    facts = {"device": "cuda:0", "weights": "untrained", "protocol": PROTOCOL, "started_at": now, "at": now}
    return WorkerBeat(worker_id=worker_id, **{**facts, **changes})


@pytest.fixture
def registry(redis_client, settings) -> WorkerRegistry:
    return WorkerRegistry(redis_client, names_of(settings))


def look(client, path: str = "/workers") -> Seen:
    answer = client.get(path, headers=BROWSER)
    assert answer.status_code == 200
    return Seen(answer.text)


def test_without_a_worker_it_says_how_to_start_one(client, submit):
    submit()
    seen = look(client)
    assert (seen.workers, seen.shown["data-count"], seen.refreshes) == ([], "0", True)
    assert seen.shown["empty"] == "atelier-worker run"
    assert "data-message" not in seen.shown  # the same, twice
    assert (seen.figures["depth"], seen.figures["backlog_seconds"]) == ("1", "unknown")


def test_a_busy_worker_leads_to_its_job(client, submit, workshop, registry):
    job = submit(name="<b>Harbour</b>")
    workshop.claim(job["id"])
    doing = WorkerJob(job_id=job["id"], attempt=1, step=5, steps=20, since=utc_now())
    registry.beat(beat(state=WorkerState.BUSY, job=doing, notice="<script>alert(1)</script>"))
    registry.beat(beat("gpu-b"))
    seen = look(client)
    assert seen.workers == ["gpu-a", "gpu-b"]
    assert seen.links["<b>Harbour</b>"] == f"/jobs/{job['id']}"
    assert seen.figures["running"] == "1"
    listed = client.get("/api/v1/workers").json["workers"]
    assert listed[0]["job"]["name"] == "<b>Harbour</b>"


def test_the_labels_of_a_worker_are_on_its_card(client, registry):
    registry.beat(beat())
    assert "<dt>Labels</dt>" not in client.get("/workers", headers=BROWSER).text
    registry.beat(beat(labels={"zone": "a", "class": "big"}))
    assert "<dd>class=big, zone=a</dd>" in client.get("/workers", headers=BROWSER).text


def test_the_name_of_someone_elses_job_is_not_told(client, submit, workshop, registry, services):
    job = submit(name="Harbour")
    doing = WorkerJob(job_id=job["id"], attempt=1, step=5, steps=20, since=utc_now())
    registry.beat(beat(state=WorkerState.BUSY, job=doing))
    with services.backend.database.write() as session:
        session.execute(update(Job).values(caller="someone else"))
    assert client.get("/api/v1/workers").json["workers"][0]["job"]["name"] is None
    assert "Harbour" not in look(client).links


def test_the_form_drains_and_leads_back(client, registry):
    first = beat()
    registry.beat(first)
    answer = client.post(look(client).forms["gpu-a"], headers=BROWSER)
    assert (answer.status_code, answer.location) == (303, "/workers")
    assert registry.is_drain_asked(first)
    seen = look(client)
    assert (seen.forms, seen.shown["data-state"]) == ({}, "draining")
    assert seen.shown["data-message"].startswith("The only worker is draining")


def test_draining_who_is_gone_is_refused_on_the_page(client, registry):
    registry.beat(beat())
    answer = client.post("/workers/nobody/drain", headers=BROWSER)
    seen = Seen(answer.text)
    assert answer.status_code == 404
    assert seen.shown["alert"] == "There is no worker 'nobody'; it may have ended already."
    assert (seen.workers, seen.refreshes) == (["gpu-a"], False)


def test_another_sites_page_drains_nobody(client, registry):
    first = beat()
    registry.beat(first)
    for path in ("/workers/gpu-a/drain", "/api/v1/workers/gpu-a/drain"):
        assert client.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert not registry.is_drain_asked(first)


def test_what_the_page_asks_for_again_is_the_page(client, submit, workshop, registry):
    job = submit(name="Harbour")
    workshop.claim(job["id"])
    doing = WorkerJob(job_id=job["id"], attempt=1, step=5, steps=20, since=utc_now() - timedelta(hours=2))
    registry.beat(beat(state=WorkerState.BUSY, job=doing, notice="never trained"))
    registry.beat(beat("gpu-b", memory_total_bytes=10**10, memory_used_bytes=10**9))
    again = client.get("/parts/workers")
    assert again.status_code == 200
    page = [line.strip() for line in client.get("/workers").text.splitlines()]
    lines = [line.strip() for line in again.text.splitlines()]
    start = page.index(lines[0])
    assert page[start : start + len(lines)] == lines
    assert (Seen(again.text).workers, Seen(again.text).figures["running"]) == (["gpu-a", "gpu-b"], "1")


def test_parts_that_are_as_they_were_are_not_sent_again(client, registry):
    registry.beat(beat(started_at=utc_now() - timedelta(hours=2)))
    known = {"If-None-Match": client.get("/parts/workers").headers["ETag"]}
    assert client.get("/parts/workers", headers=known).status_code == 304
    registry.beat(beat("gpu-b"))
    assert client.get("/parts/workers", headers=known).status_code == 200


def test_without_redis_nobody_knows_the_workers(tmp_path):
    app = create_app(Settings(redis_url="redis://127.0.0.1:1/0", data_dir=tmp_path / "data"))
    client = app.test_client()
    seen = look(client)
    assert seen.shown["data-count"] == "unknown"
    assert seen.shown["data-message"].startswith("Redis does not answer")
    assert "empty" not in seen.shown
    # A page that is open keeps the cards that it has.
    assert '<ul class="workers" data-workers data-kept>' in client.get("/parts/workers").text
    answer = client.post("/workers/gpu-a/drain", headers=BROWSER)
    assert answer.status_code == 503
    assert Seen(answer.text).shown["alert"]
    assert "127.0.0.1:1" not in answer.text
    services_of(app).close()

"""The page of workers: the queue in figures, a card for each worker; both alone, too, for an open page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.clock import from_rfc3339, utc_now
from shared.errors import AtelierError, NotFound, RedisUnavailable, WorkerTooOld
from web.address import link
from web.api import API_PATH
from web.api.problems import status_of
from web.api.workers import drain_worker, read_queue, read_workers
from web.jobs.estimates import about_words
from web.pages.layout import page, parts
from web.security import current_caller
from web.services import get_backend
from web.words import ago, file_size, sentence, span

#: Two looks at one disk are a moment apart, in which others write.
_WRITTEN_MEANWHILE_BYTES = 100_000_000
#: What a worker without a job is about, by its state.
_RESTS = {
    "starting": "Loads its engine",
    "idle": "Waits for a job",
    "busy": "Has just taken a job",
    "draining": "Takes no more jobs, and ends",
    "unhealthy": "Takes no jobs for now",
}
workers_page = Blueprint("workers_page", __name__)


@dataclass(frozen=True)
class Figure:
    """One figure: the field of the API that it shows, what people call it, and the words."""

    field: str
    title: str
    words: str


def queue_figures(queue: Mapping[str, Any]) -> list[Figure]:
    """Return the figures of the queue; `queue` is as the API shows it."""
    return [
        Figure("depth", "in line", str(queue["depth"])),
        Figure("running", "running", str(queue["running"])),
        Figure("waiting_for_others", "waiting for others", str(queue["waiting_for_others"])),
        Figure("paused", "paused", str(queue["paused"])),
        Figure("oldest_age_seconds", "longest wait", wait_words(queue["oldest_age_seconds"])),
        Figure("backlog_seconds", "a new job would start", _backlog(queue)),
    ]


def wait_words(seconds: float | None) -> str:
    """Return how long the first in line has waited."""
    return "–" if seconds is None else span(seconds)


def _backlog(queue: Mapping[str, Any]) -> str:
    return backlog_words(
        queue["backlog_seconds"], queue["backlog_low_seconds"], queue["backlog_high_seconds"]
    )


def backlog_words(seconds: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return when a job submitted now is likely to start, with the range where one is known."""
    if seconds is None:
        return "unknown"
    return "at once" if seconds == 0 else about_words(seconds, low, high).replace("about", "in", 1)


@dataclass(frozen=True)
class WorkerJobCard:
    """The job on a worker's card; `value` is 0 to 1."""

    url: str
    name: str
    line: str
    value: float
    thumbnail: str


@dataclass(frozen=True)
class WorkerCard:
    """What one card shows; `memory_share` is 0 to 1, and 0 when it is not known."""

    id: str
    state: str
    device: str
    host: str
    weights: str
    methods: str
    notice: str
    version: str
    memory: str
    memory_share: float
    storage: str
    started: str
    heard: str
    job: WorkerJobCard | None
    rest: str
    #: The page's own view, and the API's; empty for one that cannot be drained.
    drain_url: str
    drain_api: str
    faults: str = ""
    numerics: str = ""
    #: Why its machine lacks a method; empty for one that lacks none.
    not_served: str = ""
    labels: str = ""


def worker_card(worker: Mapping[str, Any], now: datetime) -> WorkerCard:
    """Return the card of a worker; `worker` is as the API shows it."""
    total, used = worker["memory"]["total_bytes"], worker["memory"]["used_bytes"]
    drain_api = worker["urls"]["drain"] or ""
    return WorkerCard(
        id=worker["id"],
        state=worker["state"],
        device=worker["device"],
        host=worker["host"],
        weights=worker["weights"],
        methods=", ".join(worker["methods"]),
        notice=worker["notice"] or "",
        version=" ".join(
            filter(None, (worker["version"], f"({worker['build']})" if worker["build"] else ""))
        ),
        memory=memory_words(total, used),
        storage=room_words(worker["storage"]),
        memory_share=used / total if total and used is not None else 0,
        started=ago(from_rfc3339(worker["started_at"]), now),
        heard=heard_words(worker["heartbeat_age_seconds"]),
        job=_job_card(worker["job"], now) if worker["job"] else None,
        rest=sentence(worker["reason"] or _RESTS[worker["state"]]),
        drain_url=drain_api.replace(API_PATH, "", 1),
        drain_api=drain_api,
        faults=fault_words(worker["faults"]),
        numerics=". ".join(f"{method}: {words}" for method, words in sorted(worker["numerics"].items())),
        not_served=". ".join(f"{method}: {why}" for method, why in sorted(worker["not_served"].items())),
        labels=", ".join(f"{key}={value}" for key, value in sorted(worker["labels"].items())),
    )


def fault_words(count: int) -> str:
    """Return how many jobs a worker handed back because it may be at fault: '2 jobs handed back'."""
    return f"{count} {'job' if count == 1 else 'jobs'} handed back" if count else ""


def version_words(version: str, build: str) -> str:
    """Return a release's version, and its build if the worker tells it: '0.2.0 (build 1a2b3c4d5e6f)'."""
    return f"{version} (build {build})" if build else version


def memory_words(total_bytes: int | None, used_bytes: int | None) -> str:
    """Return how much memory is in use: '3.1 GB of 25.3 GB'."""
    if total_bytes is None:
        return "not known"
    whole = file_size(total_bytes)
    return f"{whole} in all" if used_bytes is None else f"{file_size(used_bytes)} of {whole}"


def room_words(room: Mapping[str, int | None]) -> str:
    """Return how much room is left on a disk: '63.4 GB free of 270 GB'; `room` is as the API shows it."""
    free, total = room["free_bytes"], room["total_bytes"]
    if free is None:
        return "not known"
    return f"{file_size(free)} free" + (f" of {file_size(total)}" if total is not None else "")


def room_line(rooms: Mapping[str, Any]) -> str:
    """Return the room that this host sees, in one line; `rooms` is as the API shows it."""
    words = [f"Storage: {room_words(rooms['storage'])}"]
    if rooms["database"]["free_bytes"] is not None and not _is_one_disk(rooms["database"], rooms["storage"]):
        words.append(f"database: {room_words(rooms['database'])}")
    if rooms["min_free_bytes"]:
        words.append(f"new work is taken in while {file_size(rooms['min_free_bytes'])} are free")
    return "; ".join(words)


def _is_one_disk(one: Mapping[str, int | None], other: Mapping[str, int | None]) -> bool:
    """Whether two looks, a moment apart, were most likely at the same disk, which others write to."""
    if one["total_bytes"] != other["total_bytes"] or None in (one["free_bytes"], other["free_bytes"]):
        return False
    return abs((one["free_bytes"] or 0) - (other["free_bytes"] or 0)) < _WRITTEN_MEANWHILE_BYTES


def heard_words(age_seconds: float) -> str:
    """Return how long ago a worker was heard of; a beat that is not late is 'just now'."""
    return "just now" if age_seconds < 7 else f"{span(age_seconds)} ago"


def _job_card(job: Mapping[str, Any], now: datetime) -> WorkerJobCard:
    since = (now - from_rfc3339(job["since"])).total_seconds()
    return WorkerJobCard(
        url=link(f"/jobs/{job['id']}"),
        name=job["name"] or job["id"],
        line=f"step {job['step']} of {job['steps']}, for {span(since)}",
        value=job["step"] / job["steps"],
        # The word after v changes with the picture: what is cached under it is never an older one.
        thumbnail=f"{job['url']}/thumbnail?v={job['attempt']}-{job['step']}",
    )


@workers_page.get("/workers")
def show() -> Response:
    """Show the page."""
    return _show()


@workers_page.get("/parts/workers")
def draw_parts() -> Response:
    """Draw anew what changes on the page."""
    return parts("parts/workers.html", **_values())


@workers_page.post("/workers/<worker_id>/drain")
def drain(worker_id: str) -> AnyResponse:
    """Drain a worker, and show the page again; a refusal is shown on it."""
    try:
        drain_worker(get_backend(), worker_id)
    except (NotFound, WorkerTooOld, RedisUnavailable) as error:
        return _show(error)
    return redirect(url_for("workers_page.show"), 303)


def _show(error: AtelierError | None = None) -> Response:
    fault = ""
    if error is not None:
        # A service's own words may hold addresses.
        fault = sentence(error.detail if error.tells_detail else error.title())
    status = status_of(type(error)) if error else 200
    return page("workers.html", status=status, fault=fault, is_at_home=request.method == "GET", **_values())


def _values() -> dict[str, Any]:
    backend, now = get_backend(), utc_now()
    listed = read_workers(backend, caller=current_caller())
    # That there is no worker is said where they would be, and with what to do.
    says_more = bool(listed["workers"]) or listed["workers"] is None or bool(backend.live.control_fault())
    return {
        "cards": [worker_card(worker, now) for worker in listed["workers"] or ()],
        "is_known": listed["workers"] is not None,
        "message": sentence(listed["message"] or ""),
        "room": room_line(listed["room"]),
        "shows_message": bool(listed["message"]) and says_more,
        "figures": queue_figures(read_queue(backend)),
    }

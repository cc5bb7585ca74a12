"""A worker as a card of its page. `static/js/worker_card.js` fills the same card when the worker changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.clock import from_rfc3339
from web.pages.words import ago, file_size, span

#: What a worker without a job is about, by its state.
_RESTS = {
    "starting": "Loads its engine",
    "idle": "Waits for a job",
    "busy": "Has just taken a job",
    "draining": "Takes no more jobs, and ends",
}


@dataclass(frozen=True)
class WorkerJobCard:
    """The job on a worker's card; `value` is 0 to 1."""

    url: str = ""
    name: str = ""
    line: str = ""
    value: float = 0
    thumbnail: str = ""


@dataclass(frozen=True)
class WorkerCard:
    """What one card shows; `memory_share` is 0 to 1, and 0 when it is not known."""

    id: str = ""
    state: str = ""
    device: str = ""
    host: str = ""
    weights: str = ""
    notice: str = ""
    version: str = ""
    memory: str = ""
    memory_share: float = 0
    started: str = ""
    heard: str = ""
    job: WorkerJobCard | None = None
    rest: str = ""
    drain_url: str = ""


def worker_card(worker: Mapping[str, Any], now: datetime) -> WorkerCard:
    """Return the card of a worker; `worker` is as the API shows it."""
    total, used = worker["memory"]["total_bytes"], worker["memory"]["used_bytes"]
    drain_url = worker["urls"]["drain"]
    return WorkerCard(
        id=worker["id"],
        state=worker["state"],
        device=worker["device"],
        host=worker["host"],
        weights=worker["weights"],
        notice=worker["notice"] or "",
        version=worker["version"],
        memory=memory_words(total, used),
        memory_share=used / total if total and used is not None else 0,
        started=ago(from_rfc3339(worker["started_at"]), now),
        heard=heard_words(worker["heartbeat_age_seconds"]),
        job=_job_card(worker["job"], now) if worker["job"] else None,
        rest=_RESTS[worker["state"]],
        drain_url=drain_url.removeprefix("/api/v1") if drain_url else "",
    )


def memory_words(total_bytes: int | None, used_bytes: int | None) -> str:
    """Return how much memory is in use: '3.1 GB of 25.3 GB'."""
    if total_bytes is None:
        return "not known"
    whole = file_size(total_bytes)
    return f"{whole} in all" if used_bytes is None else f"{file_size(used_bytes)} of {whole}"


def heard_words(age_seconds: float) -> str:
    """Return how long ago a worker was heard of; a beat that is not late is 'just now'."""
    return "just now" if age_seconds < 7 else f"{span(age_seconds)} ago"


def _job_card(job: Mapping[str, Any], now: datetime) -> WorkerJobCard:
    since = (now - from_rfc3339(job["since"])).total_seconds()
    return WorkerJobCard(
        url=f"/jobs/{job['id']}",
        name=job["name"] or job["id"],
        line=f"step {job['step']} of {job['steps']}, for {span(since)}",
        value=job["step"] / job["steps"],
        # The word after v changes with the picture: what is cached under it is never an older one.
        thumbnail=f"{job['url']}/thumbnail?v={job['attempt']}-{job['step']}",
    )

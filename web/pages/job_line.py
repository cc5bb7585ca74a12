"""What is to be said of a job in one line. `static/js/job_line.js` says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web.pages.words import span


def job_line(job: Mapping[str, Any]) -> str:
    """Return how far a job is, why it waits, or what came of it; `job` is as the API shows it."""
    progress = job["progress"]
    step = f"step {progress['step']} of {progress['steps']}"
    status = job["status"]
    if status == "queued":
        return _waiting(job["queue"])
    if status == "running" and job["status_reason"] == "pausing":
        return f"pausing at {step}"
    if status == "running":
        return f"{step}, {span(job['eta']['seconds'])} left" if job["eta"] else step
    if status == "canceling":
        return f"stopping at {step}"
    if status == "succeeded":
        return _result(job)
    if status in ("failed", "expired") and job["error"]:
        return str(job["error"]["title"])
    return f"at {step}"


def _waiting(queue: Mapping[str, Any] | None) -> str:
    if queue is None:
        return "in the queue"
    if queue["message"]:
        return str(queue["message"])
    ahead = (queue["position"] or 1) - 1
    place = "next in line" if ahead == 0 else f"{ahead} {'job' if ahead == 1 else 'jobs'} ahead"
    seconds = queue["ahead_seconds"]
    return f"{place}, about {span(seconds)}" if seconds else place


def _result(job: Mapping[str, Any]) -> str:
    if job["status_reason"] == "reused":
        return "an earlier result"
    seconds = job["metrics"]["run_seconds"]
    return "done" if seconds is None else f"done in {span(seconds)}"

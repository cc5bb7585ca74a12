"""A job as a card of the gallery. `static/js/job_card.js` fills the same card when the job changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from shared.clock import from_rfc3339
from web.pages.job_line import job_line
from web.pages.words import ago

#: A card shows how far these are.
_UNDER_WAY = {"running", "canceling", "paused"}


@dataclass(frozen=True)
class JobCard:
    """What one card shows; `progress` is 0 to 1, or nothing; labels come with where they lead."""

    id: str = ""
    url: str = ""
    name: str = ""
    status: str = ""
    line: str = ""
    suggestion: str = ""
    progress: float | None = None
    thumbnail: str = ""
    created_at: str = ""
    age: str = ""
    labels: tuple[tuple[str, str], ...] = ()


def job_card(job: Mapping[str, Any], now: datetime) -> JobCard:
    """Return the card of a job; `job` is as the API shows it."""
    error = job["error"] if job["status"] in ("failed", "expired") else None
    labels = (f"{key}:{value}" for key, value in job["labels"].items())
    return JobCard(
        id=job["id"],
        url=f"/jobs/{job['id']}",
        name=job_name(job),
        status=job["status"],
        line=job_line(job),
        suggestion=(error and error["suggestion"]) or "",
        progress=job["progress"]["value"] if job["status"] in _UNDER_WAY else None,
        thumbnail=job["urls"]["thumbnail"],
        created_at=job["created_at"],
        age=ago(from_rfc3339(job["created_at"]), now),
        labels=tuple((label, f"/?{urlencode({'label': label})}") for label in labels),
    )


def job_name(job: Mapping[str, Any]) -> str:
    """Return what people call a job: its name, else its pictures."""
    pictures = job["input"]
    return job["name"] or f"{pictures['content']['filename']} × {pictures['style']['filename']}"

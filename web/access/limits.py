"""Limits of a caller: what is counted in the database, in the transaction that adds it; and how any is told.

Waiting helps where something ends by itself: such a refusal carries a `Quota`, which the answer tells as
``Retry-After`` and in the header fields ``RateLimit`` and ``RateLimit-Policy``. Where it does not help, the
refusal says what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from shared.errors import PriorityNotAllowed, Quota, SizeNotAllowed, TooManyBytes, TooManyDrafts, TooManyJobs
from shared.status import FINAL_STATUSES, JobKind, JobStatus
from web.db.models import Asset, Job

#: What waits for a worker, or has one: it counts against the limit of jobs.
OPEN_STATUSES = frozenset({JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELING})
#: Nobody knows when one of these ends.
LATER_SECONDS = 10
_FINAL = sorted(status.value for status in FINAL_STATUSES)
#: What is counted, for who reads the header fields: the draft names requests and those at once only.
_UNITS = {"streams": "concurrent-requests", "jobs": "jobs", "drafts": "jobs"}
# A text: each submission asks it. By kind, because the index is; and no further than matters.
_OPEN_JOBS = text(
    "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE caller = :caller "  # noqa: S608 - our own words
    f"AND kind IN ({', '.join(repr(kind.value) for kind in JobKind)}) "
    f"AND status IN ({', '.join(repr(status.value) for status in sorted(OPEN_STATUSES))}) "
    "AND id <> :besides LIMIT :most) AS found"
)


def quota_at_once(name: str, most: int) -> Quota:
    """Return a limit of so many at once of which nothing is left."""
    return Quota(name, most, 0, LATER_SECONDS)


def quota_fields(quotas: Iterable[Quota]) -> list[tuple[str, str]]:
    """Return limits as the header fields of draft-ietf-httpapi-ratelimit-headers tell them; none of none."""
    policies, states = [], []
    for quota in quotas:
        span = f";w={quota.window_seconds}" if quota.window_seconds is not None else ""
        unit = f';qu="{_UNITS[quota.name]}"' if quota.name in _UNITS else ""
        policies.append(f'"{quota.name}";q={quota.most}{unit}{span}')
        states.append(f'"{quota.name}";r={quota.left};t={quota.seconds}')
    if not policies:
        return []
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(states))]


def count_open_jobs(session: Session, caller: str, *, most: int, besides: str = "") -> int:
    """Return how many jobs of a caller are queued or with a worker, drafts too; counted up to `most`."""
    values = {"caller": caller, "besides": besides, "most": most}
    count: int = session.connection().execute(_OPEN_JOBS, values).scalar_one()
    return count


def count_open_drafts(session: Session, caller: str, *, besides: str = "") -> int:
    """Return how many drafts of a caller are under way."""
    open_drafts = select(func.count()).where(
        Job.caller == caller,
        Job.kind == JobKind.DRAFT.value,
        Job.status.not_in(_FINAL),
        Job.id != besides,
    )
    return session.scalar(open_drafts) or 0


def picture_bytes(session: Session, caller: str) -> int:
    """Return how many bytes the pictures have that a caller has uploaded."""
    return session.scalar(select(func.sum(Asset.size_bytes)).where(Asset.caller == caller)) or 0


def result_bytes(session: Session, caller: str) -> int:
    """Return how many bytes the results of a caller's jobs have. Every job is read: it may take a while."""
    outputs = session.scalars(select(Job.outputs).where(Job.caller == caller))
    return sum(_size(output) for listed in outputs if isinstance(listed, list) for output in listed)


def _size(output: object) -> int:
    size = output.get("size_bytes") if isinstance(output, dict) else None
    return size if isinstance(size, int) else 0


@dataclass(frozen=True)
class CallerLimits:
    """The limits of a caller for what the database counts; 0 is no limit.

    Each is asked for in the transaction that adds something, so that two who add at once are seen by each
    other. `results` is how many bytes the results have, read a moment before: only workers add to them.
    """

    caller: str
    max_jobs: int
    max_drafts: int
    max_stored_bytes: int
    results: int = 0

    def require_job_place(self, session: Session, *, besides: str = "") -> None:
        """Refuse a job beyond those that may be queued or running; `besides` is one that does not count.

        Raises:
            TooManyJobs: saying how many there are.
        """
        most = self.max_jobs
        if most and count_open_jobs(session, self.caller, most=most, besides=besides) >= most:
            raise TooManyJobs(
                f"the caller '{self.caller}' has {most} jobs queued or running; at most {most} may be at once"
            ).of(quota_at_once("jobs", most))

    def require_draft_place(self, session: Session, *, replaces: str | None) -> None:
        """Refuse a draft beyond those that may be under way; the one it replaces does not count.

        Raises:
            TooManyDrafts: saying how many there are.
        """
        count = count_open_drafts(session, self.caller, besides=replaces or "")
        if count >= self.max_drafts:
            raise TooManyDrafts(
                f"{count} of your drafts are under way; at most {self.max_drafts} may be at once"
            ).of(quota_at_once("drafts", self.max_drafts))

    def require_bytes(self, session: Session, *, is_job: bool = False) -> None:
        """Refuse what was just added where more is stored then than may be; a job needs room for its result.

        Raises:
            TooManyBytes: saying how many there would be.
        """
        if not self.max_stored_bytes:
            return
        stored = picture_bytes(session, self.caller) + self.results
        if stored + int(is_job) > self.max_stored_bytes:
            more = ", and a job adds its result" if is_job else ""
            raise TooManyBytes(
                f"counting what was sent, the caller '{self.caller}' has {stored} bytes of pictures and "
                f"results stored; at most {self.max_stored_bytes} are allowed{more}"
            )


def require_size(size_px: int, most_px: int) -> None:
    """Refuse a job that is larger than `most_px`; 0 is no limit.

    Raises:
        SizeNotAllowed: naming the size, and the largest one.
    """
    if most_px and size_px > most_px:
        detail = f"size is {size_px} px; at most {most_px} px are allowed here"
        raise SizeNotAllowed.at("/options/size", detail, code=SizeNotAllowed.code)


def require_priority(priority: int, most: int) -> None:
    """Refuse a priority above `most`.

    Raises:
        PriorityNotAllowed: naming the priority, and the highest one.
    """
    if priority > most:
        detail = f"priority is {priority}; at most {most} is allowed here"
        raise PriorityNotAllowed.at("/priority", detail, code=PriorityNotAllowed.code)

"""Sharing a job: links to its page, or its picture, made and revoked for its owner, and opened by anybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import NotFound, NotReady
from web.access.shares import SHARE_PATH, FoundShare, Shared, find_share, make_token, revoke_links
from web.address import parse_address
from web.backend import Backend
from web.db.models import Job
from web.jobs.fields import ShareBody
from web.jobs.queries import get_job


@dataclass(frozen=True)
class NewShare:
    """A link that was made just now; it is kept nowhere."""

    url: str
    of: Shared
    expires_at: datetime


def share_job(backend: Backend, job_id: str, body: ShareBody, *, caller: str, now: datetime) -> NewShare:
    """Make a link to a caller's job.

    Raises:
        NotFound: when there is none with this id.
        NotReady: when its picture is to be shared, and it has none.
    """
    of = Shared(body.of)
    # Whole seconds, as the link says them.
    expires_at = now.replace(microsecond=0) + timedelta(seconds=body.expires_in_seconds)
    with backend.database.write() as session:
        job = get_job(session, job_id, caller=caller)
        if of is Shared.OUTPUT:
            require_output(job)
        token = make_token(session, job.id, of=of, expires_at=expires_at)
    return NewShare(parse_address(backend.settings.public_url).url + SHARE_PATH + token, of, expires_at)


def revoke_shares(backend: Backend, job_id: str, *, caller: str) -> None:
    """Revoke all links to a caller's job; where there is none, nothing else changes.

    Raises:
        NotFound: when there is none with this id.
    """
    with backend.database.write() as session:
        revoke_links(session, get_job(session, job_id, caller=caller).id)


def open_share(backend: Backend, token: str, *, now: datetime) -> FoundShare:
    """Return what a token lets everybody see.

    Raises:
        NotFound: when it is none, has expired or was revoked, or its job is gone: no one can tell which.
    """
    with backend.database.read() as session:
        found = find_share(session, token, now=now)
    if found is None:
        raise NotFound()
    return found


def require_output(job: Job) -> None:
    """Refuse what needs the result of a job that has none.

    Raises:
        NotReady: saying how far it is, and whether there is hope.
    """
    if not job.outputs:
        hope = " and will have none" if job.job_status.is_final else " yet"
        raise NotReady(f"the job is {job.status} at step {job.step}; it has no result{hope}")

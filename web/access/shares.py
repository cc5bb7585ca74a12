"""Share links: what lets everybody who has one see one job's page, or its picture alone, until some moment.

A link is signed, and stored nowhere. Its text names the job, what it shows, a version and when it expires;
the signature covers all of that. The links of a job are revoked together: the version that they have to name
is raised.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from itsdangerous import Signer
from sqlalchemy import select
from sqlalchemy.orm import Session

from web.db.models import InstallationRow, Job, JobShare

#: Where links lead: below it is the token, which no log may hold.
SHARE_PATH = "/share/"
_RANDOM_BYTES = 32
_SALT = b"atelier share"
_SEPARATOR = "."
_FIRST_VERSION = 1


class Shared(StrEnum):
    """What a link shows."""

    #: The job, with its pictures.
    PAGE = "page"
    #: The final picture, and nothing else.
    OUTPUT = "output"


@dataclass(frozen=True)
class ShareLink:
    """What a link says; `expires_at` is a whole second."""

    job_id: str
    of: Shared
    version: int
    expires_at: datetime


@dataclass(frozen=True)
class FoundShare:
    """A link that is of use, and whose job it shows."""

    link: ShareLink
    caller: str


def sign_link(link: ShareLink, secret: str) -> str:
    """Return the token of a link: what it says, and the signature; all of it can stand in a path."""
    said = (link.job_id, link.of.value, str(link.version), str(int(link.expires_at.timestamp())))
    return _signer(secret).sign(_SEPARATOR.join(said)).decode()


def read_link(token: str, secret: str) -> ShareLink | None:
    """Return what a token says; None when it is not, letter by letter, one that this secret has signed."""
    said, _, _ = token.rpartition(_SEPARATOR)
    # Signed anew and compared as text: several texts of base64 stand for the same bytes.
    signed = _signer(secret).sign(_encoded(said))
    if not hmac.compare_digest(signed, _encoded(token)):
        return None
    job_id, of, version, seconds = said.split(_SEPARATOR)
    return ShareLink(job_id, Shared(of), int(version), datetime.fromtimestamp(int(seconds), UTC))


def is_open(link: ShareLink, *, version: int, now: datetime) -> bool:
    """Whether a link is of use now; `version` is the one that the links of its job have to name."""
    return link.version == version and now < link.expires_at


def make_token(session: Session, job_id: str, *, of: Shared, expires_at: datetime) -> str:
    """Return the token of a new link to a job; the first one of all makes the secret. The session writes."""
    installation = session.scalars(select(InstallationRow)).one()
    if installation.share_secret is None:
        installation.share_secret = secrets.token_urlsafe(_RANDOM_BYTES)
    link = ShareLink(job_id, of, _version_of(session, job_id), expires_at)
    return sign_link(link, installation.share_secret)


def revoke_links(session: Session, job_id: str) -> None:
    """Revoke all links to a job, however often; the session writes."""
    row = session.get(JobShare, job_id)
    if row is None:
        session.add(JobShare(job_id=job_id, version=_FIRST_VERSION + 1))
    else:
        row.version += 1


def find_share(session: Session, token: str, *, now: datetime) -> FoundShare | None:
    """Return the link of a token; None when it is none, has expired or was revoked, or its job is gone."""
    secret = session.scalar(select(InstallationRow.share_secret))
    link = None if secret is None else read_link(token, secret)
    if link is None or not is_open(link, version=_version_of(session, link.job_id), now=now):
        return None
    caller = session.scalar(select(Job.caller).where(Job.id == link.job_id))
    return None if caller is None else FoundShare(link, caller)


def _version_of(session: Session, job_id: str) -> int:
    return session.scalar(select(JobShare.version).where(JobShare.job_id == job_id)) or _FIRST_VERSION


def _signer(secret: str) -> Signer:
    return Signer(secret, salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")

"""Sessions: browsers that are signed in. One lasts as long as its token is of use, at most some days.

The cookie holds random bits, and the database their SHA-256, as with tokens. What a page's forms have to send
along is made of the same bits, so that no other site can know it, and nothing has to be kept for it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from werkzeug.http import parse_cookie

from shared.errors import CsrfMissing
from web.access.tokens import Access, digest, find_access
from web.db.models import SessionRow, TokenRow

COOKIE = "atelier_session"
#: The field of a form, and the header of a script's request, that show where they come from.
CSRF_FIELD, CSRF_HEADER = "csrf_token", "X-CSRF-Token"
LASTS = timedelta(days=14)
_RANDOM_BYTES = 32
_CSRF_KEY = b"atelier csrf"


def start_session(session: Session, token: str, *, now: datetime) -> str | None:
    """Sign a browser in; return what its cookie is to hold, or None for a token that is of no use.

    Sessions that have ended are removed on the way.
    """
    access = find_access(session, digest(token), now=now)
    if access is None or access.token_id is None:
        return None
    session.execute(delete(SessionRow).where(SessionRow.expires_at <= now))
    text = secrets.token_urlsafe(_RANDOM_BYTES)
    session.add(
        SessionRow(sha256=digest(text), token_id=access.token_id, created_at=now, expires_at=now + LASTS)
    )
    return text


def end_session(session: Session, cookie: str) -> None:
    """Sign a browser out; that it is already is as good."""
    session.execute(delete(SessionRow).where(SessionRow.sha256 == digest(cookie)))


def find_session(session: Session, cookie: str, *, now: datetime) -> Access | None:
    """Return what a browser with this cookie may do; None when it is not signed in, or no more."""
    query = (
        select(TokenRow.sha256)
        .join(SessionRow, SessionRow.token_id == TokenRow.id)
        .where(SessionRow.sha256 == digest(cookie), SessionRow.expires_at > now)
    )
    sha256 = session.scalar(query)
    access = None if sha256 is None else find_access(session, sha256, now=now)
    return None if access is None else replace(access, csrf_token=csrf_token(cookie))


def read_cookie(environ: Mapping[str, Any]) -> str:
    """Return what a request's cookie of a session holds; empty where there is none."""
    return parse_cookie(environ.get("HTTP_COOKIE", "")).get(COOKIE, "")


def csrf_token(cookie: str) -> str:
    """Return what the forms of a signed-in browser's pages show."""
    return hmac.new(cookie.encode("utf-8", "replace"), _CSRF_KEY, hashlib.sha256).hexdigest()


def require_csrf(access: Access, shown: str | None) -> None:
    """Refuse what a browser sends with its cookie alone: another site could have made it do so.

    Raises:
        CsrfMissing: when it does not show what the pages of this session have.
    """
    if access.csrf_token is not None and not hmac.compare_digest(
        access.csrf_token.encode(), (shown or "").encode("utf-8", "replace")
    ):
        raise CsrfMissing("the request does not show that it comes from a page of this service")

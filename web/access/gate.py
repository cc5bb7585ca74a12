"""The gate: for whom a request asks, by its token or the cookie of its session, and what that may do.

What a token may do is looked up anew every second: a revoked one is of no use a second later, in this process
and in every other. While there is no token at all, everybody is `local`, and may do everything.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import select

from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, ScopeMissing, Unauthenticated
from shared.logs import get_logger
from web.access.sessions import find_session, read_cookie
from web.access.tokens import (
    OPEN_ACCESS,
    USE_NOTED_EVERY,
    Access,
    Scope,
    digest,
    find_access,
    is_token,
    needs_token,
    note_use,
)
from web.db.database import Database
from web.db.models import Asset, Job

_STALE_SECONDS = 1.0
#: Of so many tokens what they may do is kept; those that are none are among them.
_KEPT = 1000
_BEARER = "bearer"
_log = get_logger(__name__)


@dataclass(frozen=True)
class _Known:
    """What a token may do, None where it is none, and when that was looked up."""

    access: Access | None
    looked_at: float


@dataclass(frozen=True)
class _Shown:
    """What a request shows: a token, or a browser's cookie, or neither."""

    token: str
    cookie: str

    @property
    def key(self) -> str:
        """What it is kept by, in which it cannot be read."""
        return digest(f"{self.token} {self.cookie}")


class Gate:
    """Tells who asks; for any number of threads."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        stale_seconds: float = _STALE_SECONDS,
    ) -> None:
        """Prepare it; `stale_seconds` is how old what it knows may be, 0 looks everything up anew."""
        self._database = database
        self._now = now
        self._monotonic = monotonic
        self.stale_seconds = stale_seconds
        self._lock = Lock()
        #: By the key of what was shown; what who shows nothing may do is among them.
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._noted: dict[str, datetime] = {}

    def identify(self, environ: Mapping[str, Any]) -> Access:
        """Return for whom a request asks; may read the database, and note that a token was used.

        Raises:
            Unauthenticated: when it shows no token, or one that is of no use, while there are tokens.
            DatabaseUnavailable: when that cannot be looked up.
        """
        shown = _read_shown(environ)
        known = self._remembered(shown) or self._look_up(shown)
        if known.access is None:
            raise _refusal(shown)
        access = known.access
        self._note_use(access)
        return access

    def identify_from_memory(self, environ: Mapping[str, Any], *, within_seconds: float) -> Access:
        """Return for whom a request asked when that was looked up last, not longer ago than so.

        For what is to be answered although the database does not: nobody can revoke a token there meanwhile.

        Raises:
            Unauthenticated: as `identify`.
            DatabaseUnavailable: when it was not looked up lately.
        """
        shown = _read_shown(environ)
        known = self._known.get(shown.key)
        if known is None or self._monotonic() - known.looked_at > within_seconds:
            raise DatabaseUnavailable("who asks was not looked up lately, and cannot be now")
        if known.access is None:
            raise _refusal(shown)
        return known.access

    def identify_at_once(self, environ: Mapping[str, Any]) -> Access | None:
        """Return for whom a request asks, if that takes no look at the database; None otherwise."""
        known = self._remembered(_read_shown(environ))
        access = None if known is None else known.access
        return None if access is None or self._is_to_note(access) else access

    def as_owner(self, access: Access, *, job_id: str | None, asset_id: str | None) -> Access:
        """Return the access with which a request acts on a job or an asset: for `manage`, its owner's.

        Raises:
            DatabaseUnavailable: when the owner cannot be looked up.
        """
        if access.token_id is None or not access.allows(Scope.MANAGE) or job_id is asset_id is None:
            return access
        with self._database.read() as session:
            owner = session.scalar(
                select(Job.caller).where(Job.id == job_id)
                if job_id is not None
                else select(Asset.caller).where(Asset.id == asset_id)
            )
        return access if owner is None else replace(access, caller=owner)

    def forget(self, environ: Mapping[str, Any]) -> None:
        """Look up anew what a request shows, as after a browser has signed out with it."""
        with self._lock:
            self._known.pop(_read_shown(environ).key, None)

    def _remembered(self, shown: _Shown) -> _Known | None:
        known = self._known.get(shown.key)
        is_fresh = known is not None and self._monotonic() - known.looked_at < self.stale_seconds
        return known if is_fresh else None

    def _look_up(self, shown: _Shown) -> _Known:
        looked_at, now, access = self._monotonic(), self._now(), None
        with self._database.read() as session:
            if shown.token:
                access = find_access(session, digest(shown.token), now=now)
            elif shown.cookie:
                access = find_session(session, shown.cookie, now=now)
            if access is None and not needs_token(session):
                access = OPEN_ACCESS
        known = _Known(access, looked_at)
        with self._lock:
            self._known[shown.key] = known
            self._known.move_to_end(shown.key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return known

    def _is_to_note(self, access: Access) -> bool:
        if access.token_id is None:
            return False
        noted = self._noted.get(access.token_id)
        return noted is None or self._now() - noted >= USE_NOTED_EVERY

    def _note_use(self, access: Access) -> None:
        if access.token_id is None or not self._is_to_note(access):
            return
        now = self._noted[access.token_id] = self._now()
        try:
            with self._database.write() as session:
                note_use(session, access.token_id, now=now)
        except DatabaseUnavailable as error:
            # Who asks is known all the same; what the request is for may need no write.
            _log.warning("token_use_not_noted", token_id=access.token_id, detail=error.detail)


def require(access: Access, needed: Scope) -> None:
    """Refuse what a token does not allow.

    Raises:
        ScopeMissing: naming the scope that is needed, and those that there are.
    """
    if not access.allows(needed):
        own = ", ".join(scope for scope in Scope if scope in access.scopes) or "none"
        raise ScopeMissing(f"this needs the scope '{needed}', and the token has {own}")


def _read_shown(environ: Mapping[str, Any]) -> _Shown:
    kind, _, text = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    # What a proxy with a login sends on is not for us.
    token = text.strip() if kind.lower() == _BEARER else ""
    return _Shown(token, "" if token else read_cookie(environ))


def _refusal(shown: _Shown) -> Unauthenticated:
    if shown.cookie:
        return Unauthenticated("this browser is not signed in any more")
    if not shown.token:
        return Unauthenticated("the request shows no token")
    if not is_token(shown.token):
        return Unauthenticated("what the request shows has not the form of a token")
    return Unauthenticated("the token is not known here, has expired, or was revoked")

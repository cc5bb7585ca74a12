"""Tokens: what a program or a browser shows to say for whom it asks, and what it may do.

A token is 256 random bits. Only its SHA-256 is stored: nobody can guess that many bits, so a slow hash, which
makes guessing dear, would only make each request dear.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from shared.errors import MalformedRequest, NotFound, TokenNameTaken
from shared.protocol import new_id
from web.db.database import Database
from web.db.models import InstallationRow, TokenRow

#: Whose all is that was there before there were tokens, and that is made while there are none.
LOCAL_CALLER = "local"
#: What every token begins with: it is found in logs and public code by that.
PREFIX = "atelier_"
#: How much of a token is shown again, so that its owner knows it: too little to be of use.
SHOWN_CHARS = len(PREFIX) + 6
_RANDOM_BYTES = 32
_TOKEN = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
NAME_RULE = "letters, digits and . _ @ -, at most 64, a letter or digit first"
#: The latest use is written this often at most: a request that only reads is not to write each time.
USE_NOTED_EVERY = timedelta(minutes=1)


class Scope(StrEnum):
    """What a token may do; each may do all that those before it may."""

    #: See one's own jobs, pictures and events, and the queue.
    READ = "read"
    #: Submit, and change or delete what is one's own.
    SUBMIT = "submit"
    #: See and change everybody's jobs, and drain workers.
    MANAGE = "manage"
    #: Make and revoke tokens, and delete callers.
    ADMIN = "admin"


_ORDER = list(Scope)


@dataclass(frozen=True)
class Access:
    """For whom a request asks, and what it may do; `token_id` is None where no token was needed."""

    caller: str
    scopes: frozenset[Scope]
    token_id: str | None = None
    #: What a request that changes something has to show: set where a cookie alone said who asks.
    csrf_token: str | None = None

    def allows(self, needed: Scope) -> bool:
        """Whether it may do what needs a scope."""
        return any(_ORDER.index(scope) >= _ORDER.index(needed) for scope in self.scopes)


#: While there is no token at all.
OPEN_ACCESS = Access(LOCAL_CALLER, frozenset(Scope))


@dataclass(frozen=True)
class NewToken:
    """A token that was made just now: the only moment at which its text is known."""

    row: TokenRow
    text: str


def create_token(
    session: Session,
    *,
    name: str,
    scopes: Collection[Scope],
    caller: str | None,
    expires_at: datetime | None,
    now: datetime,
) -> NewToken:
    """Add a token.

    Args:
        session: Writes.
        name: What people call it; no other that is in use has it.
        scopes: What it may do; at least one.
        caller: Whom it belongs to. Without, the first token of all is that of `local`, to whom everything
            belongs that is there; any later one must name its caller.
        expires_at: From then on it is none; None is never.
        now: The present.

    Raises:
        MalformedRequest: when a name is none, or no caller is named and this is not the first token.
        TokenNameTaken: when another token in use has this name.
    """
    _check_name("name", name)
    if caller is None:
        if needs_token(session):
            known = ", ".join(callers(session))
            raise MalformedRequest.at("/caller", f"say whose token it is; callers with tokens are {known}")
        caller = LOCAL_CALLER
    _check_name("caller", caller)
    if not scopes:
        raise MalformedRequest.at("/scopes", "a token without a scope may do nothing; name at least one")
    if expires_at is not None and expires_at <= now:
        raise MalformedRequest.at("/expires_at", "that moment has passed")
    taken = select(TokenRow.id).where(TokenRow.name == name, _in_use(now))
    if session.scalar(taken) is not None:
        raise TokenNameTaken(f"there is a token '{name}' already")
    text = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    row = TokenRow(
        id=new_id(),
        name=name,
        caller=caller,
        scopes=" ".join(scope for scope in Scope if scope in scopes),
        shown=text[:SHOWN_CHARS],
        sha256=digest(text),
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    session.execute(update(InstallationRow).values(needs_token=True))
    session.flush()
    return NewToken(row, text)


def _check_name(field: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise MalformedRequest.at(f"/{field}", f"{field} is '{name[:100]}'; allowed are {NAME_RULE}")


def digest(text: str) -> str:
    """Return what is stored of a token: its SHA-256, in hex."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def is_token(text: str) -> bool:
    """Whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def needs_token(session: Session) -> bool:
    """Whether every request needs a token: from the first one on, also when none is left."""
    return session.scalar(select(InstallationRow.needs_token)) is True


def is_closed(database: Database) -> bool:
    """Whether nobody gets in without a token; see `needs_token`.

    Raises:
        DatabaseUnavailable: when it cannot be asked.
    """
    with database.read() as session:
        return needs_token(session)


def find_access(session: Session, sha256: str, *, now: datetime) -> Access | None:
    """Return what the token with this digest may do; None when there is none, or it is of use no more."""
    row = session.scalar(select(TokenRow).where(TokenRow.sha256 == sha256, _in_use(now)))
    return None if row is None else Access(row.caller, read_scopes(row), row.id)


def read_scopes(row: TokenRow) -> frozenset[Scope]:
    """Return the scopes of a token; one that this release does not know allows nothing."""
    known = {scope.value: scope for scope in Scope}
    return frozenset(known[word] for word in row.scopes.split() if word in known)


def list_tokens(session: Session) -> Sequence[TokenRow]:
    """Return all tokens, those that are of no use any more too, newest first."""
    return session.scalars(select(TokenRow).order_by(TokenRow.id.desc())).all()


def callers(session: Session) -> list[str]:
    """Return the callers that have, or had, a token."""
    return list(session.scalars(select(TokenRow.caller).distinct().order_by(TokenRow.caller)))


def revoke_token(session: Session, asked: str, *, now: datetime) -> TokenRow:
    """Take a token out of use, by its id or its name; one that is already stays as it is.

    Raises:
        NotFound: when there is none.
    """
    by_name = select(TokenRow).where(TokenRow.name == asked).order_by(TokenRow.revoked_at.is_not(None))
    row = session.get(TokenRow, asked) or session.scalar(by_name.order_by(TokenRow.id.desc()).limit(1))
    if row is None:
        raise NotFound(f"there is no token '{asked[:100]}'; 'atelier token list' shows all")
    if row.revoked_at is None:
        row.revoked_at = now
    return row


def note_use(session: Session, token_id: str, *, now: datetime) -> None:
    """Note that a token was used now."""
    session.execute(update(TokenRow).where(TokenRow.id == token_id).values(last_used_at=now))


def _in_use(now: datetime) -> ColumnElement[bool]:
    is_valid = or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > now)
    return and_(TokenRow.revoked_at.is_(None), is_valid)

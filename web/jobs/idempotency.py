"""Idempotency keys: what each was used for, in the database; and those in use right now, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.errors import IdempotencyKeyInUse
from web.db.models import IdempotencyKey

#: How long a repeated request gets the first answer.
KEPT = timedelta(hours=24)
#: Notes the key in the transaction that does what was asked for; given its session, and the job's id.
NoteKey = Callable[[Session, str], None]


class KeysInFlight:
    """Held in memory on purpose: a process that is killed leaves no key behind that nobody answers for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def hold(self, caller: str, key: str) -> Iterator[None]:
        """Hold a caller's key for the length of the block.

        Raises:
            IdempotencyKeyInUse: when another request holds it.
        """
        with self._lock:
            if (caller, key) in self._held:
                raise IdempotencyKeyInUse("a request with this key is still being answered; ask again")
            self._held.add((caller, key))
        try:
            yield
        finally:
            with self._lock:
                self._held.discard((caller, key))


@dataclass(frozen=True)
class FirstAnswer:
    """An answer as it was given first: HTTP status, headers, and the body as text."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class KeptKey:
    """A key that was used: its request's SHA-256, the job it made or changed, and the answer, once given."""

    request_sha256: str
    job_id: str
    answer: FirstAnswer | None


def note_no_key(_session: Session, _job_id: str) -> None:
    """Note nothing: the request came without a key."""


def find_key(session: Session, caller: str, key: str, *, now: datetime) -> KeptKey | None:
    """Return what a caller's key was used for in the last 24 hours."""
    query = select(IdempotencyKey).where(
        IdempotencyKey.caller == caller, IdempotencyKey.key == key, IdempotencyKey.created_at > now - KEPT
    )
    row = session.scalar(query)
    if row is None:
        return None
    kept: dict[str, Any] = row.answer or {}
    given = kept.get("first")
    return KeptKey(row.request_sha256, str(kept["job_id"]), FirstAnswer(**given) if given else None)


def add_key(
    session: Session, caller: str, key: str, *, request_sha256: str, job_id: str, now: datetime
) -> None:
    """Note, in the transaction that does what was asked for, which key it was asked for with.

    Raises:
        IdempotencyKeyInUse: when another process was quicker; the transaction must not go on.
    """
    mine = (IdempotencyKey.caller == caller) & (IdempotencyKey.key == key)
    session.execute(delete(IdempotencyKey).where(mine, IdempotencyKey.created_at <= now - KEPT))
    row = {
        "caller": caller,
        "key": key,
        "request_sha256": request_sha256,
        "answer": {"job_id": job_id},
        "created_at": now,
    }
    try:
        session.execute(insert(IdempotencyKey).values(row))
    except IntegrityError as error:
        raise IdempotencyKeyInUse("another request with this key was quicker") from error


def complete_key(session: Session, caller: str, key: str, *, job_id: str, answer: FirstAnswer) -> None:
    """Keep the first answer beside a key, if the key still is there."""
    kept = {
        "job_id": job_id,
        "first": {"status": answer.status, "headers": answer.headers, "body": answer.body},
    }
    session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.caller == caller, IdempotencyKey.key == key)
        .values(answer=kept)
        .execution_options(synchronize_session=False)
    )

"""Idempotency keys: those that were used, in the database; and those of requests in flight, in memory."""

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
#: Stores the key in the transaction that writes the job; takes its session and the job's id.
NoteKey = Callable[[Session, str], None]


class KeysInFlight:
    """The keys of requests in flight. In memory only, so that a killed process leaves no key in use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def hold(self, caller: str, key: str) -> Iterator[None]:
        """Hold a caller's key during the block.

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
    """The first answer to a request: HTTP status, headers, and the body as text."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class KeptKey:
    """A used key: its request's SHA-256, the job that it created or changed, and the answer, once given."""

    request_sha256: str
    job_id: str
    answer: FirstAnswer | None


def note_no_key(_session: Session, _job_id: str) -> None:
    """Store no key: the request came without one."""


def find_key(session: Session, caller: str, key: str, *, now: datetime) -> KeptKey | None:
    """Return a caller's key, if it was used in the last 24 hours."""
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
    """Store the key of a request, in the transaction that writes its job.

    Raises:
        IdempotencyKeyInUse: when another process stored it first; the transaction must not go on.
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
    """Store the first answer with its key, if the key still exists."""
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

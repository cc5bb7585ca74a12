"""What is a caller's: counted, handed out as files, and removed with all that only they used.

Their webhooks go first of all, with what waits for them: the end of a job that is removed is told nobody.
Removal is repeatable: each job and picture goes by itself, rows before files, and what is left after a crash
goes the next time. Jobs that a worker has are canceled first, and go once they have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from shared.errors import InvalidState, NotFound, NotTerminal, StaleJob
from shared.logs import get_logger
from shared.status import FINAL_STATUSES
from web.access.limits import picture_bytes, result_bytes
from web.backend import Backend
from web.db.models import Asset, IdempotencyKey, Job, TokenRow
from web.db.webhook_models import WebhookRow
from web.jobs.actions import cancel_job, delete_job
from web.jobs.fairness import forget_flows
from web.jobs.retention import delete_unused_asset, forget_picture
from web.protection import check_hold
from web.webhooks.subscriptions import list_webhooks, remove_all

_FINAL = sorted(status.value for status in FINAL_STATUSES)
_AT_ONCE = 200
_Row = TypeVar("_Row", Job, Asset)
_log = get_logger(__name__)


@dataclass(frozen=True)
class Holdings:
    """What is a caller's: how many of each, and the bytes of their pictures and results."""

    caller: str
    jobs: int
    unfinished: int
    assets: int
    tokens: int
    #: Without those of single jobs.
    webhooks: int
    stored_bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing is theirs."""
        return not (self.jobs or self.assets or self.tokens or self.webhooks)


def list_callers(session: Session) -> list[str]:
    """Return all who have a job, a picture, a webhook or a token, drafts and revoked tokens included."""
    tables = (Job.caller, Asset.caller, TokenRow.caller, WebhookRow.caller)
    return sorted({name for column in tables for name in session.scalars(select(column).distinct())})


def read_holdings(session: Session, caller: str) -> Holdings:
    """Return what is a caller's; drafts count as jobs."""
    jobs = select(func.count()).select_from(Job).where(Job.caller == caller)
    return Holdings(
        caller=caller,
        jobs=session.scalar(jobs) or 0,
        unfinished=session.scalar(jobs.where(Job.status.not_in(_FINAL))) or 0,
        assets=session.scalar(select(func.count()).select_from(Asset).where(Asset.caller == caller)) or 0,
        tokens=session.scalar(select(func.count()).select_from(TokenRow).where(TokenRow.caller == caller))
        or 0,
        webhooks=len(list_webhooks(session, caller=caller)),
        stored_bytes=picture_bytes(session, caller) + result_bytes(session, caller),
    )


def jobs_of(backend: Backend, caller: str) -> Iterator[Job]:
    """Yield all jobs of a caller, drafts included, oldest first."""
    yield from _in_pages(
        backend, lambda after: select(Job).where(Job.caller == caller, Job.id > after).order_by(Job.id)
    )


def assets_of(backend: Backend, caller: str) -> Iterator[Asset]:
    """Yield all pictures of a caller, oldest first."""
    yield from _in_pages(
        backend,
        lambda after: select(Asset).where(Asset.caller == caller, Asset.id > after).order_by(Asset.id),
    )


def _in_pages(backend: Backend, query: Callable[[str], Select[_Row]]) -> Iterator[_Row]:
    """Yield the rows of a query of those with an id after one; no transaction stays open meanwhile."""
    after = ""
    while True:
        with backend.database.read() as session:
            rows = list(session.scalars(query(after).limit(_AT_ONCE)))
        yield from rows
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1].id


def remove_caller(backend: Backend, caller: str, *, now: Callable[[], datetime]) -> Holdings:
    """Remove all that is a caller's, and return what is left: jobs that a worker has still to let go.

    Their tokens are revoked first, so that nothing new comes; another caller of the same bytes keeps them.

    Raises:
        FilesHeld: while a backup is being made.
        DatabaseUnavailable, StorageUnavailable: when rows or files cannot be removed; the rest stays.
    """
    with backend.database.write() as session:
        check_hold(session, now=now())
        mine = (TokenRow.caller == caller) & TokenRow.revoked_at.is_(None)
        session.execute(update(TokenRow).where(mine).values(revoked_at=now()))
        remove_all(session, caller=caller)
    for job in list(jobs_of(backend, caller)):
        # It may end, or go, in this very moment: the next look is at what it is then.
        with suppress(NotFound, InvalidState, NotTerminal, StaleJob):
            if job.status not in _FINAL:
                cancel_job(backend, job.id, caller=caller, now=now())
            delete_job(backend, job.id, caller=caller)
    with backend.database.write() as session:
        session.execute(update(Asset).where(Asset.caller == caller).values(starred_at=None))
        session.execute(delete(IdempotencyKey).where(IdempotencyKey.caller == caller))
    for asset in list(assets_of(backend, caller)):
        _remove_asset(backend, asset, now=now())
    with backend.database.write() as session:
        left = read_holdings(session, caller)
        if not left.jobs and not left.assets:
            session.execute(delete(TokenRow).where(TokenRow.caller == caller))
            forget_flows(session, caller)
            left = read_holdings(session, caller)
    _log.info("caller_removed", caller=caller, jobs_left=left.jobs, assets_left=left.assets)
    return left


def _remove_asset(backend: Backend, asset: Asset, *, now: datetime) -> None:
    with backend.database.write() as session:
        check_hold(session, now=now)
        if not delete_unused_asset(session, asset.id, before=now):
            return
    forget_picture(backend, asset.sha256, before=now)

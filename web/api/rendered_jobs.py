"""Jobs as they are sent: each is rendered once for each state in which it is shown.

Polls ask for the same again and again. What was rendered is sent again if it rests on what is so now, and
that is found out anew for each of them: nothing is believed for a while. So nobody is shown an older state
after a newer one, whichever thread was slower, and whoever has written. A mark is taken before anything is
looked at, so that what was found belongs to it or is newer.

| what is shown rests on | it is the same when |
|---|---|
| the row, its labels and pictures | nobody has written to the database (`Database.mark`); else the row is,
all of it: some changes are no news, and have no version |
| of a queued job: its place | as above; else the place is |
| of a queued job: the state of the queue | `read_shared_queue` tells the same |
| of one with a worker: its live progress | Redis tells the same |

Labels and pictures are never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.redis.live import LiveProgress
from shared.status import JobStatus
from web.address import link
from web.api.http import json_bytes, written_answer
from web.api.job_view import LIVE, JobView, read_views
from web.backend import Backend
from web.db.marks import Mark
from web.db.models import Job
from web.jobs.estimates import QueueState
from web.jobs.line import known_queue, read_shared_queue
from web.jobs.queries import get_job, queue_positions, read_row
from web.services import Services

#: What is kept of a job beside its JSON: mostly its row, in which options and outputs are texts.
_BESIDE_BYTES = 4000
_Key = tuple[str, str, str]


@dataclass(frozen=True)
class RenderedJob:
    """A job as JSON, as it is shown now."""

    job_id: str
    status: JobStatus
    version: int
    etag: str
    content: bytes

    def answer(self, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """Return the response with this job."""
        response = written_answer(self.content, status, headers=headers)
        response.set_etag(self.etag)
        return response


@dataclass(frozen=True)
class _Kept:
    """A rendered job, and what it rests on: `mark` and `row` were read at one time, the rest after them."""

    job: RenderedJob
    mark: Mark | None
    row: tuple[Any, ...]
    route: str
    follows: bool
    position: int | None
    queue: QueueState | None
    live: LiveProgress | None


def read_rendered(services: Services, job_id: str, *, caller: str) -> RenderedJob:
    """Return a job of a caller as it is shown now. Of many who ask for it at once, one has it rendered.

    Raises:
        NotFound: when there is none with this id.
        JobUnreadable: when it cannot be shown.
        DatabaseUnavailable: when the database cannot be asked.
    """
    key = caller, job_id, link("")
    kept = _find(services, key)
    if kept is None:
        with services.answers.turn(key):
            kept = _find(services, key) or _render(services, key)
    return kept.job


def find_rendered(services: Services, job_id: str, *, caller: str) -> RenderedJob | None:
    """Return a job as it is shown now, if it is known to be so without asking Redis or reading a row.

    None says nothing of the job. It takes some microseconds, and waits for nobody.

    Raises:
        DatabaseUnavailable: when the file of the database was removed or replaced.
    """
    mark = services.backend.database.mark()
    kept: _Kept | None = services.answers.find((caller, job_id, link("")))
    if kept is None or mark is None or kept.mark != mark or kept.job.status in LIVE:
        return None
    if kept.job.status is JobStatus.QUEUED and known_queue(services.backend, kept.route) != kept.queue:
        return None
    return kept.job


def _find(services: Services, key: _Key) -> _Kept | None:
    """Return what was rendered last, if it rests on what is so now."""
    backend, mark = services.backend, services.backend.database.mark()
    kept: _Kept | None = services.answers.find(key)
    if kept is None:
        return None
    if mark is None or kept.mark != mark:
        if not _is_stored(services, key, kept):
            return None
        # The mark is older than what was compared: it promises no more than was seen.
        kept = replace(kept, mark=mark)
        _keep(services, key, kept)
    return kept if _is_so_beside(backend, kept) else None


def _is_stored(services: Services, key: _Key, kept: _Kept) -> bool:
    """Whether the database still holds what was rendered."""
    caller, job_id, _ = key
    with services.backend.database.read() as session:
        row = read_row(session, job_id, caller=caller)
        if row is None:
            services.answers.drop(key)
            raise NotFound(f"there is no job with the id '{job_id}'")
        # Of one that follows another the name of that one is shown, too.
        if row != kept.row or kept.follows:
            return False
        if kept.job.status is JobStatus.QUEUED:
            return queue_positions(session, [job_id]).get(job_id) == kept.position
    return True


def _is_so_beside(backend: Backend, kept: _Kept) -> bool:
    """Whether what does not lie in the database is as it was, too."""
    if kept.job.status in LIVE:
        return backend.live.progress([kept.job.job_id]).get(kept.job.job_id) == kept.live
    if kept.job.status is JobStatus.QUEUED:
        return read_shared_queue(backend, kept.route) == kept.queue
    return True


def _render(services: Services, key: _Key) -> _Kept:
    caller, job_id, _ = key
    rows: list[tuple[Any, ...] | None] = []

    def query(session: Session) -> list[Job]:
        rows.append(read_row(session, job_id, caller=caller))
        return [get_job(session, job_id, caller=caller)]

    mark = services.backend.database.mark()
    view = read_views(services.backend, query)[0]
    kept = _kept_of(view, mark, rows[0] or ())
    _keep(services, key, kept)
    return kept


def _kept_of(view: JobView, mark: Mark | None, row: tuple[Any, ...]) -> _Kept:
    status = view.job.job_status
    return _Kept(
        RenderedJob(view.job.id, status, view.job.version, view.etag, json_bytes(view.data)),
        mark=mark,
        row=row,
        route=view.job.route,
        follows=view.job.leader_id is not None and status is JobStatus.QUEUED,
        position=view.position,
        queue=view.queue,
        live=view.live,
    )


def _keep(services: Services, key: _Key, kept: _Kept) -> None:
    services.answers.keep(key, kept, len(kept.job.content) + _BESIDE_BYTES)

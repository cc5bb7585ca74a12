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
| of one with a worker: its live progress | Redis tells the same, asked once for all who poll at once |

Labels are never changed without the row's version, and pictures never.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from shared.errors import JobUnreadable, NotFound
from shared.redis.live import LiveProgress
from shared.status import JobStatus
from web.address import link
from web.api.http import json_bytes, written_answer
from web.api.job_view import LIVE, JobView, read_views, show_job
from web.backend import Backend
from web.db.marks import Mark
from web.db.models import Job
from web.jobs.estimates import QueueState
from web.jobs.line import known_queue, read_shared_queue
from web.jobs.places import places_of
from web.jobs.queries import get_job, read_row
from web.jobs.submission import WrittenJob
from web.services import Services

#: What is kept of a job beside its JSON: its row as it is stored and as an object, and its pictures'.
_BESIDE_BYTES = 12_000
JobKey = tuple[str, str, str]


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
    view: JobView
    mark: Mark | None
    row: tuple[Any, ...]

    @property
    def follows(self) -> bool:
        """Whether another job is named in it, whose row was not kept."""
        return self.view.job.leader_id is not None and self.job.status is JobStatus.QUEUED

    @property
    def is_live(self) -> bool:
        """Whether Redis tells of it."""
        return self.job.status in LIVE


def read_rendered(services: Services, job_id: str, *, caller: str) -> RenderedJob:
    """Return a job of a caller as it is shown now. Of many who ask for it at once, one has it rendered.

    Raises:
        NotFound: when there is none with this id.
        JobUnreadable: when it cannot be shown.
        DatabaseUnavailable: when the database cannot be asked.
    """
    key, mark = key_of(job_id, caller=caller), services.backend.database.mark
    kept = _look(services, key, mark(), has_turn=False)
    if kept is None:
        with services.answers.turn(key):
            kept = _look(services, key, mark(), has_turn=True) or _read(services, key)
    return kept.job


def key_of(job_id: str, *, caller: str) -> JobKey:
    """Return what a job of a caller is kept under, in the request that is being answered."""
    return caller, job_id, link("")


def render_added(services: Services, written: WrittenJob, *, caller: str) -> RenderedJob:
    """Return a job that was just added as it is shown, from what was written of it.

    Raises:
        JobUnreadable, DatabaseUnavailable: as `read_rendered`.
    """
    job = written.job
    queue = read_shared_queue(services.backend, job.route)
    view = show_job(
        services.backend, job, live=None, position=written.position, queue=queue, leader_name=None
    )
    # Without a mark: whoever asks next compares the row.
    kept = _Kept(_rendered(view), view, None, written.row)
    return _keep(services, key_of(job.id, caller=caller), kept).job


def look_together(services: Services, keys: Collection[JobKey]) -> dict[JobKey, RenderedJob]:
    """Return the jobs with a worker that are kept under some keys as they are shown now.

    Redis is asked once for all of them. Left out is what has to be read anew, or cannot be shown.

    Raises:
        DatabaseUnavailable: when the database cannot be asked.
    """
    mark = services.backend.database.mark()
    live = services.backend.live.progress([job_id for _, job_id, _ in keys])
    shown: dict[JobKey, RenderedJob] = {}
    for key in keys:
        with suppress(NotFound, JobUnreadable), services.answers.turn(key):
            if (found := _look(services, key, mark, has_turn=True, live=live)) is not None:
                shown[key] = found.job
    return shown


def is_kept_live(services: Services, key: JobKey) -> bool:
    """Whether the job that is kept under a key is one of which Redis has to be asked each time."""
    kept: _Kept | None = services.answers.find(key)
    return kept is not None and kept.is_live


def find_rendered(services: Services, job_id: str, *, caller: str) -> RenderedJob | None:
    """Return a job as it is shown now, if it is known to be so without asking Redis or reading a row.

    None says nothing of the job. It takes some microseconds, and waits for nobody.

    Raises:
        DatabaseUnavailable: when the file of the database was removed or replaced.
    """
    mark = services.backend.database.mark()
    kept: _Kept | None = services.answers.find(key_of(job_id, caller=caller))
    if kept is None or mark is None or kept.mark != mark or kept.is_live:
        return None
    if (
        kept.job.status is JobStatus.QUEUED
        and known_queue(services.backend, kept.view.job.route) != kept.view.queue
    ):
        return None
    return kept.job


def _look(
    services: Services,
    key: JobKey,
    mark: Mark | None,
    *,
    has_turn: bool,
    live: Mapping[str, LiveProgress] | None = None,
) -> _Kept | None:
    """Return what was rendered last, if the row is as it was then; made anew where only the rest is not.

    After a write, by whomever, one has its turn to see whether that is so; the others then know by its mark.
    Redis is asked unless `live` is given, which was read after the mark.
    """
    kept: _Kept | None = services.answers.find(key)
    if kept is None:
        return None
    position = kept.view.position
    if mark is None or kept.mark != mark:
        if mark is not None and not has_turn:
            return None
        with services.backend.database.read() as session:
            row = read_row(session, kept.job.job_id, caller=key[0])
            if row is None:
                services.answers.drop(key)
                raise NotFound(f"there is no job with the id '{kept.job.job_id}'")
            if row != kept.row or kept.follows:
                return None
            if kept.job.status is JobStatus.QUEUED:
                position = places_of(session, [kept.view.job]).get(kept.job.job_id)
    progress, queue = _beside(services.backend, kept, live)
    if (position, progress, queue) != (kept.view.position, kept.view.live, kept.view.queue):
        if not has_turn:
            return None
        job, name = kept.view.job, kept.view.leader_name
        view = show_job(
            services.backend, job, live=progress, position=position, queue=queue, leader_name=name
        )
        return _keep(services, key, _Kept(_rendered(view), view, mark, kept.row))
    # The mark is older than what was compared: it promises no more than was seen.
    return kept if kept.mark == mark else _keep(services, key, replace(kept, mark=mark))


def _beside(
    backend: Backend, kept: _Kept, live: Mapping[str, LiveProgress] | None
) -> tuple[LiveProgress | None, QueueState | None]:
    """Return what does not lie in the database, of now."""
    if kept.is_live:
        live = backend.live.progress([kept.job.job_id]) if live is None else live
        return live.get(kept.job.job_id), kept.view.queue
    if kept.job.status is JobStatus.QUEUED:
        return kept.view.live, read_shared_queue(backend, kept.view.job.route)
    return kept.view.live, kept.view.queue


def _read(services: Services, key: JobKey) -> _Kept:
    """Read a job, render it, and keep that."""
    caller, job_id, _ = key
    rows: list[tuple[Any, ...] | None] = []

    def query(session: Session) -> list[Job]:
        rows.append(read_row(session, job_id, caller=caller))
        return [get_job(session, job_id, caller=caller)]

    mark = services.backend.database.mark()
    view = read_views(services.backend, query)[0]
    return _keep(services, key, _Kept(_rendered(view), view, mark, rows[0] or ()))


def _rendered(view: JobView) -> RenderedJob:
    job = view.job
    return RenderedJob(job.id, job.job_status, job.version, view.etag, json_bytes(view.data))


def _keep(services: Services, key: JobKey, kept: _Kept) -> _Kept:
    services.answers.keep(key, kept, len(kept.job.content) + _BESIDE_BYTES)
    return kept

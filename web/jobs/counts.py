"""Counts of jobs by their status that are kept up: counted once for a filter, and then moved along.

SQLite's triggers write down each change of what lists count (`JobChange`). Who asks again for the same filter
gets what was counted before and what has changed since, in one snapshot of the database, however many jobs
there are. Another database is counted each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.status import JobKind, JobStatus
from web.db.models import JobChange
from web.jobs.lists import JobFilter, count_by_status, ids_among

#: Filters that are remembered; of those, the ones asked for last.
_MOST_FILTERS = 256
#: Of more changes than these, counting anew costs no more. They are ids in one statement, too.
_MOST_CHANGES = 500


@dataclass(frozen=True)
class Counted:
    """How many jobs there were of each status after the change with a sequence."""

    sequence: int
    counts: Mapping[JobStatus, int]


def move_along(
    counts: Mapping[JobStatus, int], changes: Sequence[JobChange], *, kind: JobKind
) -> dict[JobStatus, int] | None:
    """Return the counts of a kind of jobs after some changes; None when they do not fit what was counted."""
    moved: dict[str, int] = {status.value: count for status, count in counts.items()}
    for change in changes:
        if change.kind_before == kind and change.status_before is not None:
            moved[change.status_before] = moved.get(change.status_before, 0) - 1
        if change.kind_after == kind and change.status_after is not None:
            moved[change.status_after] = moved.get(change.status_after, 0) + 1
    known = {status.value for status in JobStatus}
    if any(count < 0 for status, count in moved.items() if status in known):
        return None
    return {JobStatus(status): count for status, count in moved.items() if count and status in known}


class StatusCounts:
    """The counts of the filters that were asked for last; for any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[Hashable, Counted] = OrderedDict()

    def read(self, session: Session, *, caller: str, only: JobFilter) -> dict[JobStatus, int]:
        """Return the number of jobs of each status that has some; the filter's statuses are ignored.

        The session must only read: what it would take back would be counted.
        """
        if session.get_bind().dialect.name != "sqlite":
            return count_by_status(session, caller=caller, only=only)
        key = _key(caller, only)
        with self._lock:
            known = self._known.get(key)
        newest = session.scalar(select(func.max(JobChange.sequence))) or 0
        # Another thread may have looked later than this session did: nobody is shown less than that.
        if known is None or known.sequence < newest:
            found = None if known is None else _moved(session, known, newest, caller=caller, only=only)
            if found is None:
                found = count_by_status(session, caller=caller, only=only)
            known = self._keep(key, Counted(newest, found))
        return dict(known.counts)

    def _keep(self, key: Hashable, counted: Counted) -> Counted:
        """Keep what was counted, unless there is something later; return the later one."""
        with self._lock:
            later = self._known.get(key)
            if later is None or later.sequence < counted.sequence:
                self._known[key] = later = counted
            self._known.move_to_end(key)
            while len(self._known) > _MOST_FILTERS:
                self._known.popitem(last=False)
            return later


def _key(caller: str, only: JobFilter) -> Hashable:
    labels = tuple(sorted(only.labels.items()))
    return caller, only.kind, labels, only.batch_id, only.created_after, only.name, only.id_prefix


def _moved(
    session: Session, known: Counted, newest: int, *, caller: str, only: JobFilter
) -> dict[JobStatus, int] | None:
    """Return what was counted with what has changed since; None when it has to be counted anew."""
    if newest - known.sequence > _MOST_CHANGES:
        return None
    query = select(JobChange).where(JobChange.sequence > known.sequence).order_by(JobChange.sequence)
    changes = session.scalars(query).all()
    if len(changes) != newest - known.sequence or any(change.job_id is None for change in changes):
        return None
    ours = [
        change
        for change in changes
        if change.caller == caller and only.kind in (change.kind_before, change.kind_after)
    ]
    if replace(only, kind=JobKind.JOB, statuses=()) != JobFilter():
        if any(change.kind_after is None for change in ours):
            return None  # what it was can no longer be asked
        ids = {change.job_id for change in ours if change.job_id is not None}
        fitting = ids_among(session, ids, caller=caller, only=only) if ids else set()
        ours = [change for change in ours if change.job_id in fitting]
    return move_along(known.counts, ours, kind=only.kind)

"""Lists of jobs: which of them a filter has, newest first, and how many of each status.

Whatever is stored, a page is found among few rows. A name that many jobs have fills it from the newest some
thousand. A condition that few jobs fulfil is answered by their ids (`_few`); of a name its trigrams tell
them, and of one or two characters the trigrams that begin with these. Where many jobs fulfil each condition,
they are walked through from the newest on, in an index that has all that is asked for, until the page is
full. So what is read through in whole is what many jobs fulfil, each condition for itself, and few together
or only the oldest: some 0.1 µs for each job with a name.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Select, column, false, func, select, table, text
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from shared.status import JobKind, JobStatus
from web.db.models import Job, JobLabel, JobName

_Row = TypeVarTuple("_Row")
_LAST_CHARACTER = "\U0010ffff"
#: What so many jobs fulfil at most is answered by their ids.
_FEW = 250
#: So many names are looked through first.
_NEAREST = 2000
#: How long a trigram is, in characters, and how much of a longer part they are asked for.
_TRIGRAM, _LONGEST_PHRASE = 3, 64
#: For a shorter part so many are asked for at most, and none that so many names have.
_MOST_TERMS, _MOST_NAMES = 64, 4 * _FEW
#: What is no character in UTF-16 is all the same to FTS5.
_AS_FTS5_READS = {0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}
_search = table("job_search", column("rowid"), column("name"))
_terms = table("job_search_terms", column("term"), column("doc"))
#: An id, and one of a name's or a label's job.
_Id = InstrumentedAttribute[str]


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list shows; an empty field filters nothing."""

    kind: JobKind = JobKind.JOB
    statuses: Sequence[JobStatus] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    batch_id: str | None = None
    created_after: datetime | None = None
    #: A part of the name; case does not matter.
    name: str = ""
    #: What the id begins with.
    id_prefix: str = ""


def list_jobs(
    session: Session,
    *,
    caller: str,
    only: JobFilter,
    before_id: str | None = None,
    after_id: str | None = None,
    limit: int,
) -> list[Job]:
    """Return up to `limit` jobs, newest first.

    Args:
        session: The database.
        caller: Whose jobs.
        only: Which of them.
        before_id: Only jobs older than this one: those next to it.
        after_id: Only jobs newer than this one: those next to it, so that one can page back.
        limit: How many at most.
    """
    page = _Page(before_id, after_id, limit)
    ids = _Search(session, caller, only).page_of_ids(page)
    if not ids:
        return []
    return list(session.scalars(select(Job).where(Job.id.in_(ids)).order_by(Job.id.desc())))


def count_by_status(session: Session, *, caller: str, only: JobFilter) -> dict[JobStatus, int]:
    """Return the number of jobs of each status that has some; the filter's statuses are ignored.

    All of them are counted: see `web.jobs.counts` for what is asked for again and again.
    """
    found = _Search(session, caller, replace(only, statuses=())).counts()
    known = {status.value for status in JobStatus}
    return {JobStatus(status): count for status, count in found.items() if status in known}


def ids_among(session: Session, ids: Collection[str], *, caller: str, only: JobFilter) -> set[str]:
    """Return those of the ids whose jobs a filter has, whatever their kind and status are."""
    query = select(Job.id).where(Job.id.in_(ids), Job.caller == caller)
    return set(session.scalars(query.where(*_conditions(only))))


@dataclass(frozen=True)
class _Page:
    before_id: str | None
    after_id: str | None
    limit: int

    def of(self, query: Select[str, *_Row], job_id: _Id) -> Select[str, *_Row]:
        """Return a query for the ids next to where the page begins."""
        if self.after_id is not None:
            return query.where(job_id > self.after_id).order_by(job_id).limit(self.limit)
        if self.before_id is not None:
            query = query.where(job_id < self.before_id)
        return query.order_by(job_id.desc()).limit(self.limit)

    def merge(self, found: Sequence[Sequence[str]]) -> list[str]:
        """Return the ids of several such queries that are nearest."""
        is_falling = self.after_id is None
        return list(heapq.merge(*found, reverse=is_falling))[: self.limit]


class _Search:
    """One search in a session's snapshot."""

    def __init__(self, session: Session, caller: str, only: JobFilter) -> None:
        self._session = session
        self._caller = caller
        self._only = only
        self._statuses = [status.value for status in only.statuses]
        self._named = bool(only.name) and _is_sqlite(session)
        #: No job that the filter has is older than this one.
        self._oldest: str | None = None

    def page_of_ids(self, page: _Page) -> list[str]:
        """Return the ids of a page."""
        if self._named:
            nearest = self._session.scalars(self._among_nearest(page)).all()
            if len(nearest) == page.limit:
                return page.merge([nearest])
        few = self._few()
        if few is not None:
            queries = [page.of(self._all(select(Job.id)).where(Job.id.in_(few)), Job.id)] if few else []
            return page.merge([self._session.scalars(query).all() for query in queries])
        self._oldest = self._find_oldest()
        if self._named:
            queries = [page.of(self._names(select(JobName.job_id)), JobName.job_id)]
        elif self._only.labels:
            queries = [page.of(self._labelled(select(JobLabel.job_id)), JobLabel.job_id)]
        else:
            # One for each status: the jobs of several are in no order in the index.
            every = select(Job.id).where(*self._own(Job), *_conditions(self._only), *self._ids(Job.id))
            chosen = [every.where(Job.status == status) for status in dict.fromkeys(self._statuses)]
            queries = [page.of(query, Job.id) for query in chosen or [every]]
        return page.merge([self._session.scalars(query).all() for query in queries])

    def counts(self) -> dict[str, int]:
        """Return the number of jobs by their status."""
        few = self._few()
        number = func.count()
        if few == []:
            return {}
        if few is not None:
            query = self._all(select(Job.status, number)).where(Job.id.in_(few)).group_by(Job.status)
        elif self._named:
            query = self._names(select(JobName.status, number)).group_by(JobName.status)
        elif self._only.labels:
            with_job = select(Job.status, number).select_from(JobLabel).join(Job, Job.id == JobLabel.job_id)
            query = self._labelled(with_job).group_by(Job.status)
        else:
            query = self._all(select(Job.status, number)).group_by(Job.status)
        return {row[0]: row[1] for row in self._session.execute(query)}

    def _among_nearest(self, page: _Page) -> Select[str]:
        """Return a query for a page among the nearest names: of a name that many have they fill it."""
        read = JobName.caller, JobName.kind, JobName.job_id, JobName.status, JobName.name
        own = select(*read).where(*self._own(JobName), *_id_range(JobName.job_id, self._only))
        nearest = aliased(JobName, replace(page, limit=_NEAREST).of(own, JobName.job_id).subquery())
        return page.of(self._names(select(nearest.job_id), nearest), nearest.job_id)

    def _few(self) -> list[str] | None:
        """Return the ids that one of the conditions leaves, if one of them leaves few: not sorted."""
        only = self._only
        asked: list[Select[str]] = []
        if self._named:
            part = only.name.lower()
            match = self._match(part) if "\0" not in part and self._has_trigrams() else None
            if match is not None:
                if not match:
                    return []
                asked.append(_by_trigrams(match, part))
        others = [
            *(
                select(JobLabel.job_id).where(JobLabel.key == key, JobLabel.value == value)
                for key, value in only.labels.items()
            ),
            *([select(Job.id).where(Job.batch_id == only.batch_id)] if only.batch_id is not None else []),
            *(
                [select(Job.id).where(*self._own(Job), Job.created_at > only.created_after)]
                if only.created_after is not None
                else []
            ),
        ]
        if self._statuses and (others or self._named):
            others.append(select(Job.id).where(*self._own(Job), Job.status.in_(self._statuses)))
        # One alone that is no name is answered in order by its own index.
        if len(others) > 1 or self._named or only.batch_id is not None or only.created_after is not None:
            asked += others
        for query in asked:
            found = self._session.scalars(query.limit(_FEW + 1)).all()
            if len(found) <= _FEW:
                return list(found)
        return None

    def _match(self, part: str) -> str | None:
        """Return what to ask the trigrams for; None when they do not tell, and "" when no name has the part.

        Of a part that is shorter than they are, all that begin with it are asked for, unless they are many.
        """
        if len(part) >= _TRIGRAM:
            return _phrase(part[:_LONGEST_PHRASE])
        first = part.translate(_AS_FTS5_READS)
        last = first + _LAST_CHARACTER * (_TRIGRAM - len(first))
        query = select(_terms.c.term, _terms.c.doc).where(_terms.c.term >= first, _terms.c.term <= last)
        found = self._session.execute(query.limit(_MOST_TERMS + 1)).all()
        if len(found) > _MOST_TERMS or any(row.doc > _MOST_NAMES for row in found):
            return None
        return " OR ".join(_phrase(row.term) for row in found)

    def _own(self, of: type[Job] | type[JobName]) -> tuple[ColumnElement[bool], ...]:
        return of.caller == self._caller, of.kind == self._only.kind.value

    def _ids(self, job_id: _Id) -> list[ColumnElement[bool]]:
        return [job_id >= self._oldest] if self._oldest is not None else []

    def _all(self, query: Select[*_Row]) -> Select[*_Row]:
        """Return a query of jobs with all conditions."""
        query = query.where(*self._own(Job), *_conditions(self._only))
        return query.where(Job.status.in_(self._statuses)) if self._statuses else query

    def _names(self, query: Select[*_Row], of: type[JobName] = JobName) -> Select[*_Row]:
        """Return a query of names, of all or of some, with all conditions."""
        query = query.where(*self._own(of), _has_part(of.name, self._only.name))
        if self._statuses:
            query = query.where(of.status.in_(self._statuses))
        query = query.where(*_id_range(of.job_id, self._only), *self._ids(of.job_id))
        query = query.where(*_with_labels(of.job_id, self._only))
        rest = _of_row(self._only)
        return query.where(select(Job.id).where(Job.id == of.job_id, *rest).exists()) if rest else query

    def _labelled(self, query: Select[*_Row]) -> Select[*_Row]:
        """Return a query of the jobs that have the first of the labels, with all conditions."""
        (key, value), *others = self._only.labels.items()
        query = query.where(JobLabel.key == key, JobLabel.value == value)
        query = query.where(*_id_range(JobLabel.job_id, self._only), *self._ids(JobLabel.job_id))
        rest = replace(self._only, labels=dict(others))
        job = select(Job.id).where(Job.id == JobLabel.job_id, *self._own(Job), *_conditions(rest))
        if self._statuses:
            job = job.where(Job.status.in_(self._statuses))
        return query.where(job.correlate(JobLabel).exists())

    def _find_oldest(self) -> str | None:
        """Return the least id of a job after the filter's moment: a last page goes no further back."""
        if self._only.created_after is None:
            return None
        # Of the column itself SQLite would look for the least from the oldest job on.
        least = select(func.min(Job.id.concat("")))
        return self._session.scalar(least.where(*self._own(Job), *_of_row(self._only)))

    def _has_trigrams(self) -> bool:
        asked = text("SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = 'job_name_added'")
        return self._session.execute(asked).first() is not None


def _is_sqlite(session: Session) -> bool:
    """Whether the database has SQLite's triggers and with them `job_names`; else `jobs` is asked itself."""
    return session.get_bind().dialect.name == "sqlite"


def _phrase(letters: str) -> str:
    return '"' + letters.replace('"', '""') + '"'


def _by_trigrams(match: str, part: str) -> Select[str]:
    """Return a query for the jobs with a part in their name, among those that trigrams tell of."""
    found = select(JobName.job_id).join(_search, _search.c.rowid == JobName.number)
    # What FTS5 takes for the same character need not be the same.
    return found.where(_search.c.name.op("MATCH")(match), _has_part(JobName.name, part))


def _has_part(folded: ColumnElement[str] | InstrumentedAttribute[str], name: str) -> ColumnElement[bool]:
    # No name has a NUL.
    return false() if "\0" in name else func.instr(folded, name.lower()) > 0


def _conditions(only: JobFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter on a job, except those on its kind and status."""
    found = [*_of_row(only), *_id_range(Job.id, only), *_with_labels(Job.id, only)]
    if "\0" in only.name:
        found.append(false())
    elif only.name:
        found.append(func.lower(Job.name).contains(only.name.lower(), autoescape=True))
    return found


def _of_row(only: JobFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that the row of a job alone can answer."""
    found: list[ColumnElement[bool]] = []
    if only.batch_id is not None:
        found.append(Job.batch_id == only.batch_id)
    if only.created_after is not None:
        found.append(Job.created_at > only.created_after)
    return found


def _id_range(job_id: _Id, only: JobFilter) -> list[ColumnElement[bool]]:
    prefix = only.id_prefix
    return [job_id >= prefix, job_id < prefix + _LAST_CHARACTER] if prefix else []


def _with_labels(job_id: _Id, only: JobFilter) -> list[ColumnElement[bool]]:
    rows: Any = JobLabel.__table__.alias()
    return [
        select(rows.c.job_id)
        .where(rows.c.job_id == job_id, rows.c.key == key, rows.c.value == value)
        .exists()
        for key, value in only.labels.items()
    ]

"""Lists and search: they find what reading through all jobs finds, and read little for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import false, func, select, text
from sqlalchemy.orm import Session

from shared.clock import utc_now
from shared.status import JobKind, JobStatus
from tests.support.many_jobs import BEGINNING, add_rows, job_row, taken_back
from tests.support.rows import add_picture
from web.db import derived
from web.db.database import Database
from web.db.models import Asset, Job, JobLabel
from web.jobs import lists
from web.jobs.counts import StatusCounts
from web.jobs.estimates import measured_runs
from web.jobs.fairness import FlowKey, next_start
from web.jobs.line import read_line_rows
from web.jobs.lists import JobFilter, count_by_status, list_jobs
from web.jobs.places import place_to_join, places_of
from web.jobs.queries import count_queue, get_jobs, recent_run_seconds
from web.jobs.queue import IN_ORDER
from web.jobs.routing import LINES

ROUTES = ("any", "both", "fast")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('lists')}/atelier.db")
    database.upgrade()
    with database.write() as session:
        add_picture(session, now=BEGINNING)
    yield database
    database.close()


@pytest.fixture(scope="module")
def without_trigrams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """As on a SQLite that has no FTS5."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('plain')}/atelier.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derived, "has_trigrams", lambda _: False)
        database.upgrade()
    with database.write() as session:
        add_picture(session, now=BEGINNING)
        assert session.scalar(text("SELECT count(*) FROM sqlite_master WHERE name LIKE 'job_search%'")) == 0
    yield database
    database.close()


@pytest.fixture(autouse=True)
def _few_are_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen jobs are many already."""
    for name, number in {"_FEW": 3, "_NEAREST": 2, "_MOST_TERMS": 3, "_MOST_NAMES": 5}.items():
        monkeypatch.setattr(lists, name, number)


def read_through(caller: str, only: JobFilter) -> Any:
    """Return the query that asks every job: how lists were made before there was anything to search in."""
    query = select(Job).where(Job.caller == caller, Job.kind == only.kind.value)
    if only.statuses:
        query = query.where(Job.status.in_([status.value for status in only.statuses]))
    for key, value in only.labels.items():
        has_label = select(JobLabel).where(
            JobLabel.job_id == Job.id, JobLabel.key == key, JobLabel.value == value
        )
        query = query.where(has_label.exists())
    if only.batch_id is not None:
        query = query.where(Job.batch_id == only.batch_id)
    if only.created_after is not None:
        query = query.where(Job.created_at > only.created_after)
    if "\0" in only.name:
        query = query.where(false())
    elif only.name:
        query = query.where(func.lower(Job.name).contains(only.name.lower(), autoescape=True))
    if only.id_prefix:
        query = query.where(Job.id.startswith(only.id_prefix, autoescape=True))
    return query


LETTERS = st.sampled_from(
    [
        *"abAB üÜÖößẞſİıΣσςéÉ%_/\\'\"*^:()-+.",
        *("e\u0301", "你好", "日本", "😀", "ﬁ", "Ǆ", "\ufffd", "\U0010ffff", "\u200d"),
    ]
)
#: SQLite's LIKE, by which they are read through, takes both for U+FFFD; a search does not.
NO_LETTERS = "\ufffe\uffff"
NAMES = st.lists(LETTERS, max_size=8).map("".join) | st.text(
    st.characters(exclude_characters="\0" + NO_LETTERS, exclude_categories=["Cs"]), max_size=12
)
STATUSES = st.sampled_from(list(JobStatus))


@st.composite
def found_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What some jobs have that a list asks for; with names of few letters, so that many are alike."""
    return [
        {
            "name": draw(NAMES),
            "status": draw(STATUSES),
            "kind": draw(st.sampled_from(["job", "job", "job", "draft"])),
            "caller": draw(st.sampled_from(["local", "local", "local", "other"])),
            "batch_id": draw(st.sampled_from([None, "one", "two"])),
            "label": draw(st.sampled_from([{}, {"a": "1"}, {"a": "2"}, {"a": "1", "b": "1"}])),
        }
        for _ in range(draw(st.integers(0, 14)))
    ]


@st.composite
def asked(draw: st.DrawFn) -> tuple[list[dict[str, Any]], JobFilter]:
    rows = draw(found_rows())
    names = [row["name"] for row in rows if row["name"]]
    part = st.just("")
    if names:
        whole = draw(st.sampled_from(names))
        begin = draw(st.integers(0, len(whole) - 1))
        cut = whole[begin : begin + draw(st.integers(1, 4))]
        part = st.sampled_from([cut, cut.upper(), cut.lower(), cut.swapcase(), cut + "x", whole])
    name = draw(
        part
        | st.text(st.characters(exclude_characters=NO_LETTERS, exclude_categories=["Cs"]), max_size=5)
        | NAMES
    )
    only = JobFilter(
        kind=draw(st.sampled_from([JobKind.JOB, JobKind.JOB, JobKind.DRAFT])),
        statuses=draw(st.lists(STATUSES, max_size=3)),
        labels=draw(st.sampled_from([{}, {}, {"a": "1"}, {"a": "1", "b": "1"}, {"c": "1"}])),
        batch_id=draw(st.sampled_from([None, None, "one"])),
        created_after=draw(st.none() | st.integers(0, 14).map(lambda s: BEGINNING + timedelta(seconds=s))),
        name=name,
    )
    return rows, only


def check_lists(
    session: Session, rows: list[dict[str, Any]], only: JobFilter, *, data: st.DataObject
) -> None:
    asset = session.scalars(select(Asset)).one()
    made, labels = [], []
    for number, row in enumerate(rows):
        own = {name: value for name, value in row.items() if name != "label"}
        made.append(job_row(asset, number, **own))
        labels += [{"job_id": made[-1]["id"], "key": k, "value": v} for k, v in row["label"].items()]
    ids = add_rows(session, made, labels)
    prefix = data.draw(st.sampled_from(["", *(job_id[:-1] for job_id in ids)]))
    only = replace(only, id_prefix=prefix)
    every = [job.id for job in session.scalars(read_through("local", only).order_by(Job.id.desc()))]
    edge, limit = data.draw(st.sampled_from([None, *ids])), data.draw(st.integers(1, 6))

    def found(**where: Any) -> list[str]:
        return [job.id for job in list_jobs(session, caller="local", only=only, limit=limit, **where)]

    assert found() == every[:limit]
    if edge is not None:
        assert found(before_id=edge) == [one for one in every if one < edge][:limit]
        assert found(after_id=edge) == [one for one in every if one > edge][-limit:]
    counts: dict[str, int] = {}
    for job in session.scalars(read_through("local", replace(only, statuses=()))):
        counts[job.status] = counts.get(job.status, 0) + 1
    assert count_by_status(session, caller="local", only=only) == counts


@given(what=asked(), data=st.data())
def test_a_list_is_what_reading_through_all_jobs_finds(database, what, data):
    with taken_back(database) as session:
        check_lists(session, *what, data=data)


@given(what=asked(), data=st.data())
def test_so_is_one_where_sqlite_has_no_trigrams(without_trigrams, what, data):
    with taken_back(without_trigrams) as session:
        check_lists(session, *what, data=data)


@given(what=asked(), data=st.data())
def test_so_is_one_of_another_database_which_has_jobs_alone(database, what, data):
    with pytest.MonkeyPatch.context() as patch, taken_back(database) as session:
        patch.setattr(lists, "_is_sqlite", lambda _: False)
        session.execute(text("DELETE FROM job_names"))
        check_lists(session, *what, data=data)


@pytest.mark.parametrize(
    "part", ["\uffff", "\ufffe", "\ufffd", "b\uffff", "\uffffb", "a\uffffb", "b", '"', "b\n"]
)
def test_letters_that_trigrams_take_for_others_are_found_as_they_are(database, part):
    names = ["\uffff", "a\ufffeb", "a\ufffdb", "ab\uffff", "a\uffffb", 'say "b"']
    with taken_back(database) as session:
        asset = session.scalars(select(Asset)).one()
        add_rows(session, [job_row(asset, number, name=name) for number, name in enumerate(names)])
        found = list_jobs(session, caller="local", only=JobFilter(name=part), limit=9)
        assert sorted(job.name for job in found) == sorted(name for name in names if part in name)


@given(rows=found_rows(), names=st.lists(NAMES, min_size=1, max_size=5), part=NAMES)
def test_search_follows_names_that_change_and_jobs_that_go(database, rows, names, part):
    with taken_back(database) as session:
        asset = session.scalars(select(Asset)).one()
        made = [job_row(asset, n, name=row["name"], status=row["status"]) for n, row in enumerate(rows)]
        ids = add_rows(session, made)
        for job_id, name in zip(ids, names, strict=False):
            session.execute(text("UPDATE jobs SET name = :name WHERE id = :id"), {"name": name, "id": job_id})
        for job_id in ids[len(names) :: 2]:
            session.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": job_id})
        only = JobFilter(name=part)
        every = [job.id for job in session.scalars(read_through("local", only).order_by(Job.id.desc()))]
        assert [job.id for job in list_jobs(session, caller="local", only=only, limit=20)] == every
        session.execute(text("INSERT INTO job_search (job_search, rank) VALUES ('integrity-check', 1)"))


@given(
    jobs=st.lists(
        st.tuples(
            st.sampled_from([JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.RUNNING]),
            st.sampled_from(ROUTES),
            st.sampled_from([-1_000_000, 0, 0, 3]),
            st.integers(0, 3),
            st.integers(-1, 14),
        ),
        max_size=14,
    )
)
def test_places_are_those_in_the_whole_line(database, jobs):
    with taken_back(database) as session:
        asset = session.scalars(select(Asset)).one()
        rows = [
            job_row(asset, second, status=status, route=route, queue_rank=rank)
            for status, route, rank, second, _ in jobs
        ]
        for row, (*_, leader) in zip(rows, jobs, strict=True):
            # Some wait for another; also for one that is not there.
            row["leader_id"] = rows[leader]["id"] if 0 <= leader < len(rows) and leader % 3 == 0 else None
        ids = add_rows(session, rows)
        places = {}
        for line in LINES:
            stand = select(Job).where(Job.status == "queued", Job.leader_id.is_(None), Job.route.in_(line))
            for place, job in enumerate(session.scalars(stand.order_by(*IN_ORDER)), start=1):
                places[job.id] = place
        # Who follows a job that follows another one has none.
        followers = session.scalars(select(Job).where(Job.status == "queued", Job.leader_id.in_(places)))
        expected = places | {job.id: places[job.leader_id] for job in followers}
        assert places_of(session, get_jobs(session, ids).values()) == expected
        assert places_of(session, session.scalars(select(Job).where(Job.id.in_(ids)))) == expected
        assert places_of(session, get_jobs(session, ids[::2]).values()) == {
            i: expected[i] for i in ids[::2] if i in expected
        }


# What is read does not grow with what is stored.

SMALL, LARGE = 400, 8_000


def _fill(folder: Path, count: int) -> Database:
    """Make a database in which one job of ten waits, and of each name and label the same share has it."""
    database = Database(f"sqlite:///{folder}/atelier.db")
    database.upgrade()
    statuses = [JobStatus.SUCCEEDED] * 8 + [JobStatus.FAILED, JobStatus.QUEUED]
    with database.write() as session:
        asset = add_picture(session, now=BEGINNING)
        rows = [
            job_row(asset, n, name=f"{'Hafen' if n % 3 else 'Brücke'} {n}", status=statuses[n % 10])
            for n in range(count - 3)
        ]
        rows += [job_row(asset, count + n, name="Selten", status=JobStatus.RUNNING) for n in range(3)]
        labels = [{"job_id": row["id"], "key": "all", "value": "1"} for row in rows]
        labels += [{"job_id": row["id"], "key": "some", "value": str(n % 5)} for n, row in enumerate(rows)]
        add_rows(session, rows, labels)
    return database


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Database]]:
    made = {count: _fill(tmp_path_factory.mktemp(f"jobs-{count}"), count) for count in (SMALL, LARGE)}
    yield made
    for database in made.values():
        database.close()


def steps_of(database: Database, act: Callable[[Session], object]) -> int:
    """Return how many steps SQLite's machine takes: a few for each row that is read."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with database.read() as session:
        own: Any = session.connection().connection.dbapi_connection
        own.set_progress_handler(count, 1)
        try:
            act(session)
        finally:
            own.set_progress_handler(None, 0)
    return steps


def _page(only: JobFilter, **where: Any) -> Callable[[Session], object]:
    return lambda session: list_jobs(session, caller="local", only=only, limit=25, **where)


#: What an index begins with, so that these tests read no more than what they test.
OWN = (Job.caller == "local", Job.kind == "job")


def _last_page_of_the_youngest(session: Session) -> None:
    newest = session.scalars(select(Job).where(*OWN).order_by(Job.id.desc()).limit(100)).all()
    only = JobFilter(created_after=newest[-1].created_at)
    found = list_jobs(session, caller="local", only=only, before_id=newest[90].id, limit=25)
    assert len(found) == 8


FLOW = FlowKey("local", "any", 0)
READS: dict[str, Callable[[Session], object]] = {
    "all": _page(JobFilter()),
    "one status": _page(JobFilter(statuses=[JobStatus.FAILED])),
    "two statuses": _page(JobFilter(statuses=[JobStatus.FAILED, JobStatus.SUCCEEDED])),
    "a name that many have": _page(JobFilter(name="HAFEN")),
    "of one status": _page(JobFilter(name="hafen", statuses=[JobStatus.FAILED])),
    "of a status that few have": _page(JobFilter(name="hafen", statuses=[JobStatus.RUNNING])),
    "a name that few have": _page(JobFilter(name="selten")),
    "a name that nobody has": _page(JobFilter(name="nirgends")),
    "two letters": _page(JobFilter(name="üc")),
    "two letters that nobody has": _page(JobFilter(name="qx")),
    "a letter that nobody has": _page(JobFilter(name="q")),
    "a label that all have": _page(JobFilter(labels={"all": "1"})),
    "a label that some have": _page(JobFilter(labels={"some": "2"})),
    "two labels and a name": _page(JobFilter(labels={"all": "1", "some": "2"}, name="Brücke")),
    "the youngest": _page(JobFilter(created_after=BEGINNING + timedelta(days=1))),
    "the last page of the youngest": _last_page_of_the_youngest,
    "the runs that estimates rest on": lambda session: measured_runs(session, limit=20),
    "the last run times": lambda session: recent_run_seconds(session, "any"),
    "those of a route that has none": lambda session: recent_run_seconds(session, "fast"),
    "where the next job of a caller stands": lambda session: next_start(session, FLOW),
}


@pytest.mark.parametrize("what", READS)
def test_a_page_is_found_among_few_rows(filled, monkeypatch, what):
    monkeypatch.setattr(lists, "_FEW", 30)
    few, many = (steps_of(filled[count], READS[what]) for count in (SMALL, LARGE))
    assert many <= 1.3 * few + 200


def _last_queued(session: Session) -> list[str]:
    queued = select(Job.id).where(*OWN, Job.status == "queued")
    return list(session.scalars(queued.order_by(Job.id.desc()).limit(24)))


ONCE_A_WAITING_JOB: dict[str, Callable[[Session], object]] = {
    "places of the last": lambda session: places_of(
        session, get_jobs(session, _last_queued(session)).values()
    ),
    "the place of one who joins": lambda session: place_to_join(session, FLOW, utc_now(), "~"),
    "all that have not ended": count_queue,
    "the line": lambda session: read_line_rows(session, "any"),
}


@pytest.mark.parametrize("what", ONCE_A_WAITING_JOB)
def test_the_line_is_gone_through_once_at_most(filled, what):
    few, many = (steps_of(filled[count], ONCE_A_WAITING_JOB[what]) for count in (SMALL, LARGE))
    waiting = (LARGE - SMALL) // 10
    assert many <= 1.3 * few + 200 + 24 * waiting


@pytest.mark.parametrize("only", [JobFilter(), JobFilter(name="Hafen"), JobFilter(labels={"all": "1"})])
def test_what_was_counted_once_is_not_counted_again(filled, only):
    for database in filled.values():
        counts = StatusCounts()

        def look(session: Session, counts: StatusCounts = counts) -> object:
            return counts.read(session, caller="local", only=only)

        first, again = steps_of(database, look), steps_of(database, look)
        assert again < 60 < first

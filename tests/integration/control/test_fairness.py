"""Fairness between callers: whose job is next, as rows and broker have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from shared.broker import Dispatch
from shared.options import StyleOptions
from shared.protocol import EventType
from shared.settings import Settings
from tests.support.bench import make_control, report, rounds, usual_list
from tests.support.clock import Clock
from web.control.process import Control
from web.db.models import Flow, Job
from web.jobs.actions import write_cancel, write_pause, write_resume
from web.jobs.changing import hurry_leader, write_change
from web.jobs.fairness import FlowKey, forget_flows
from web.jobs.fields import ChangeBody
from web.jobs.places import place_to_join, places_of
from web.jobs.queries import add_job, get_job, get_jobs
from worker.context import WorkerContext

Add = Callable[..., list[Job]]


@pytest.fixture
def control(settings: Settings, clock: Clock) -> Iterator[Control]:
    """A control whose window holds all that these tests add."""
    wide = settings.model_copy(update={"queue_window": 1000})
    control = make_control(wide, clock)
    yield control
    control.close()


@pytest.fixture
def add(control: Control, job: Job) -> Add:
    """Add jobs of a caller, each a second younger than the one before; the fixture's own job goes away."""
    added = [0]
    with control.backend.database.write() as session:
        write_cancel(session, get_job(session, job.id), now=job.created_at)

    def do(caller: str, count: int, *, seconds: float = 10.0, priority: int = 5) -> list[Job]:
        with control.backend.database.write() as session:
            picture = session.merge(job.content, load=False)
            jobs = []
            for _ in range(count):
                added[0] += 1
                jobs.append(
                    add_job(
                        session, caller=caller, name=f"{caller} {added[0]}", content=picture, style=picture,
                        options=StyleOptions(steps=20), labels={}, max_attempts=3,
                        now=job.created_at + timedelta(seconds=added[0]), priority=priority,
                        estimated_seconds=seconds,
                    )
                )  # fmt: skip
            return jobs

    return do


@pytest.fixture
def broker(control: Control, settings: Settings) -> Iterator[Dispatch]:
    dispatch = Dispatch(settings, control.backend.redis)
    yield dispatch
    dispatch.close()


def order(broker: Dispatch) -> list[str]:
    """The jobs whose messages wait, the next to be taken first."""
    return [entry.message_id.rpartition(":")[0] for entry in broker.look().entries if entry.message_id]


def ids(jobs: Sequence[Job]) -> list[str]:
    return [job.id for job in jobs]


def places(control: Control, jobs: Sequence[Job]) -> list[int]:
    with control.backend.database.read() as session:
        found = places_of(session, get_jobs(session, ids(jobs)).values())
    return [found[job.id] for job in jobs]


def write(control: Control, job: Job, act: Callable[..., Any], *rest: Any, clock: Clock) -> None:
    with control.backend.database.write() as session:
        act(session, get_job(session, job.id), *rest, now=clock.now())


class Hand:
    """A worker's hand: it takes the next job, and ends it so many seconds later."""

    def __init__(self, control: Control, context: WorkerContext, clock: Clock) -> None:
        self.control, self.context, self.clock = control, context, clock

    def take(self) -> Job:
        self.control.round()
        client = self.context.redis.client
        broker = Dispatch(self.control._settings, self.control.backend.redis)
        entry = next(entry for entry in broker.look().entries if entry.message_id)
        broker.close()
        client.lrem(entry.key, 1, entry.text)
        job_id, attempt = str(entry.message_id).split(":")
        assert self.context.redis.claims.claim(job_id, int(attempt), token="node-a") == "ok"
        with self.control.backend.database.read() as session:
            job = get_job(session, job_id)
        report(self.context, job, EventType.CLAIMED)
        self.control.round()
        return job

    def end(self, job: Job, *, after_seconds: float) -> None:
        self.clock.seconds += after_seconds
        self.context.redis.claims.release(job.id, job.attempt, token="node-a", ended=True)
        error = {"code": "engine_failed", "detail": "it was asked to fail"}
        report(self.context, job, EventType.FAILED, error=error)
        self.control.round()

    def work(self, count: int, seconds: Callable[[Job], float]) -> Counter[str]:
        """Carry out so many jobs, and return the seconds that each caller's took."""
        took: Counter[str] = Counter()
        for _ in range(count):
            job = self.take()
            took[job.caller] += int(seconds(job))
            self.end(job, after_seconds=seconds(job))
        return took


@pytest.fixture
def hand(control: Control, context: WorkerContext, clock: Clock) -> Hand:
    return Hand(control, context, clock)


def test_one_job_of_another_caller_waits_for_one_of_a_hundred(control, add, broker, hand):
    many = add("ada", 100)
    control.round()
    running = hand.take()
    (one,) = add("ben", 1)
    control.round()
    assert running.id == many[0].id
    # Right behind the one that would be next, which was there before and has got no more.
    assert order(broker)[:2] in ([one.id, many[1].id], [many[1].id, one.id])
    assert places(control, [one]) == [order(broker).index(one.id) + 1]


def test_who_comes_later_takes_turns_with_whom_there_is(control, add, broker):
    ada = add("ada", 6)
    control.round()
    ben = add("ben", 3)
    control.round()
    expected = [ada[0], ben[0], ada[1], ben[1], ada[2], ben[2], *ada[3:]]
    assert order(broker) == ids(expected)
    assert places(control, expected) == list(range(1, 10))


def test_turns_are_as_long_as_the_jobs(control, add, broker):
    long = add("ada", 3, seconds=60)
    short = add("ben", 9, seconds=20)
    control.round()
    by_id = {job.id: job for job in (*long, *short)}
    seconds = Counter[str]()
    for job_id in order(broker):
        job = by_id[job_id]
        seconds[job.caller] += 60 if job.caller == "ada" else 20
        assert abs(seconds["ada"] - seconds["ben"]) <= 60 + 20


def test_the_jobs_of_one_caller_keep_their_order_whatever_they_take(control, add, broker):
    jobs = [job for seconds in (500, 1, 30, 0, 7) for job in add("ada", 1, seconds=seconds)]
    control.round()
    assert order(broker) == ids(jobs)


def test_it_is_within_a_priority_that_callers_take_turns(control, add, broker):
    usual = add("ada", 3)
    urgent = add("ada", 3, priority=9)
    ben = add("ben", 1)
    control.round()
    assert order(broker) == ids([*urgent, usual[0], ben[0], *usual[1:]])


def test_what_was_used_at_one_priority_is_not_owed_at_another(control, add, broker, hand):
    add("ada", 3, priority=9, seconds=1000)
    hand.work(3, lambda job: 1000.0)
    ben, ada = add("ben", 2), add("ada", 2)
    control.round()
    assert order(broker) == ids([ben[0], ada[0], ben[1], ada[1]])


def test_who_was_away_has_saved_nothing_up(control, add, broker, hand):
    add("ada", 20)
    hand.work(15, lambda job: 10.0)
    ben = add("ben", 10)
    control.round()
    # He does not get what she has had meanwhile: they take turns from now on.
    assert len(set(order(broker)[:6]) & set(ids(ben))) == 3


def test_what_a_job_took_counts_and_not_what_it_was_reckoned_with(control, add, hand):
    """Ada's jobs take four times as long as anybody thought, and Ben's as long as they were thought to."""
    add("ada", 20, seconds=20)
    add("ben", 50, seconds=20)
    took = hand.work(50, lambda job: 80.0 if job.caller == "ada" else 20.0)
    assert 0.45 <= took["ada"] / took.total() <= 0.55


def test_who_cancels_what_waits_does_not_wait_for_it(control, add, broker, clock, hand):
    ada = add("ada", 60)
    add("ben", 60)
    hand.work(2, lambda job: 10.0)
    for job in ada[2:59]:
        write(control, job, write_cancel, clock=clock)
    hand.work(2, lambda job: 10.0)
    # After a few of his, and not after sixty.
    assert places(control, [ada[59]])[0] <= 8


def test_a_job_that_was_lost_in_the_broker_keeps_its_place(control, context, add, broker, clock):
    jobs = add("ada", 5)
    control.round()
    assert order(broker) == ids(jobs)
    queue = usual_list(context.redis.names)
    entry = next(entry for entry in broker.look().entries if entry.message_id == f"{jobs[1].id}:1")
    assert context.redis.client.lrem(queue, 1, entry.text) == 1
    rounds(control, clock)
    assert order(broker) == ids(jobs)


def test_resuming_brings_a_job_back_to_its_place_among_the_own(control, add, broker, clock):
    ada, ben = add("ada", 3), add("ben", 3)
    control.round()
    write(control, ada[1], write_pause, clock=clock)
    write(control, ada[1], write_resume, clock=clock)
    rounds(control, clock)
    own = [job_id for job_id in order(broker) if job_id in ids(ada)]
    assert own == ids(ada)
    assert len(order(broker)) == len(ada) + len(ben)


def test_a_change_of_priority_joins_the_flow_of_that_priority(control, add, broker, clock):
    add("ben", 1, priority=8)
    urgent = add("ada", 3, priority=8)
    usual = add("ada", 2)
    control.round()
    write(control, usual[1], write_change, ChangeBody(priority=8), clock=clock)
    control.round()
    assert order(broker)[-2:] == ids([usual[1], usual[0]])
    assert order(broker)[-3] == urgent[-1].id


def test_one_that_others_wait_for_stands_where_its_caller_has_got_to(control, add, broker):
    ben = add("ben", 2, priority=9)
    ada_urgent, (leader,) = add("ada", 2, priority=9), add("ada", 1)
    with control.backend.database.write() as session:
        hurry_leader(session, leader.id, priority=9)
    control.round()
    assert order(broker) == ids([ben[0], ada_urgent[0], ben[1], ada_urgent[1], leader])


def test_who_joins_is_told_the_place_that_he_gets(control, add, clock):
    add("ada", 10)
    add("ben", 2)
    for caller in ("ada", "ben", "cid"):
        with control.backend.database.read() as session:
            told = place_to_join(session, FlowKey(caller, "any", 5), clock.now() + timedelta(days=1), "~")
        (joined,) = add(caller, 1)
        assert places(control, [joined]) == [told]


def test_a_caller_that_is_removed_leaves_no_flow(control, add, hand):
    add("ada", 1)
    add("ben", 1)
    hand.work(2, lambda job: 10.0)
    with control.backend.database.write() as session:
        assert set(session.scalars(select(Flow.caller))) == {"ada", "ben"}
        forget_flows(session, "ada")
        assert list(session.scalars(select(Flow.caller))) == ["ben"]

"""The window: only the first of the queue lies in the broker, in order; what was handed back goes first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from shared.broker import Dispatch
from shared.clock import utc_now
from shared.options import StyleOptions
from shared.protocol import EventType
from shared.redis.workers import WorkerBeat
from shared.settings import Settings
from tests.support.bench import read, report, rounds, usual_list
from tests.support.clock import Clock
from web.control.process import Control
from web.db.models import Job
from web.jobs.actions import write_cancel, write_pause, write_resume
from web.jobs.changing import write_change
from web.jobs.fields import ChangeBody
from web.jobs.places import places_of
from web.jobs.queries import add_job, get_job, get_jobs
from web.jobs.routing import queue_rank
from worker.context import WorkerContext

LEAST = 16


@pytest.fixture
def add(control: Control, job: Job) -> Callable[[int], list[Job]]:
    """Add jobs, each a second younger than the one before."""
    added = [0]

    def do(count: int, **extra: object) -> list[Job]:
        with control.backend.database.write() as session:
            picture = session.merge(job.content, load=False)
            jobs = []
            for _ in range(count):
                added[0] += 1
                moment = job.created_at + timedelta(seconds=added[0])
                made = add_job(
                    session, caller="local", name=f"{added[0]}", content=picture, style=picture,
                    options=StyleOptions(steps=20), labels={}, max_attempts=3, now=moment,
                )  # fmt: skip
                for name, value in extra.items():
                    setattr(made, name, value)
                jobs.append(made)
            return jobs

    return do


@pytest.fixture
def broker(control: Control, settings: Settings) -> Iterator[Dispatch]:
    dispatch = Dispatch(settings, control.backend.redis)
    yield dispatch
    dispatch.close()


def of_priority(priority: int) -> dict[str, int]:
    return {"priority": priority, "queue_rank": queue_rank(priority)}


def order(broker: Dispatch) -> list[str | None]:
    """The jobs whose messages wait, the next to be taken first."""
    return [entry.message_id.rpartition(":")[0] for entry in broker.look().entries if entry.message_id]


def take(context: WorkerContext, control: Control, job: Job) -> None:
    """Take a job off the broker, and claim it."""
    for entry in Dispatch(control._settings, control.backend.redis).look().entries:
        if entry.message_id == f"{job.id}:{job.attempt}":
            context.redis.client.lrem(entry.key, 1, entry.text)
    assert context.redis.claims.claim(job.id, job.attempt, token="node-a") == "ok"
    report(context, job, EventType.CLAIMED)
    control.round()


def test_the_oldest_lie_in_the_broker_and_the_others_follow(
    control: Control, context: WorkerContext, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    jobs = [job, *add(40)]
    for _ in range(3):
        control.round()
    assert order(broker) == [one.id for one in jobs[:LEAST]]
    for one in jobs[:5]:
        take(context, control, one)
    control.round()
    assert order(broker) == [one.id for one in jobs[5 : LEAST + 5]]


def test_the_window_grows_with_the_workers(
    control: Control, clock: Clock, add: Callable[..., list[Job]], broker: Dispatch
):
    add(200)
    control.round()
    assert len(order(broker)) == LEAST
    for number in range(20):
        beat = WorkerBeat(
            worker_id=f"n{number}", device="cpu", weights="w", started_at=utc_now(), at=utc_now()
        )
        control.backend.redis.workers.beat(beat)
    clock.seconds += 60
    control.round()
    assert len(order(broker)) == 20 * control.backend.settings.queue_window


def test_a_job_that_was_handed_back_goes_before_all_that_wait(
    control: Control, context: WorkerContext, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    others = add(30)
    control.round()
    take(context, control, job)
    report(context, job, EventType.RELEASED)
    context.redis.claims.release(job.id, 1, token="node-a", ended=False)
    for _ in range(2):
        control.round()
    assert order(broker)[0] == job.id
    assert order(broker)[1:] == [one.id for one in others[:LEAST]]
    assert read(control, job).attempt == 1


def test_the_message_that_a_draining_node_put_back_is_not_there_twice(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., list[Job]],
    broker: Dispatch,
):  # fmt: skip
    add(8)
    control.round()
    queue = usual_list(context.redis.names)
    text = context.redis.client.rpop(queue)
    report(context, job, EventType.CLAIMED)
    control.round()
    context.redis.client.lpush(queue, text)  # what kombu does with a message that is rejected
    report(context, job, EventType.RELEASED)
    for _ in range(2):
        control.round()
    assert order(broker)[0] == job.id
    assert order(broker).count(job.id) == 1
    context.redis.client.lpush(queue, text)  # or only now
    rounds(control, clock)
    assert order(broker).count(job.id) == 1
    assert order(broker)[0] == job.id


def test_a_rescued_job_goes_before_all_that_wait(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., list[Job]],
    broker: Dispatch,
):  # fmt: skip
    add(30)
    rounds(control, clock)
    take(context, control, job)
    context.redis.claims.release(job.id, 1, token="node-a", ended=False)
    rounds(control, clock)
    assert (read(control, job).attempt, order(broker)[0]) == (2, job.id)


def test_a_rolling_upgrade_keeps_the_begun_jobs_first_by_age(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., list[Job]],
    broker: Dispatch,
):  # fmt: skip
    """One after the other hands its job back, the youngest first; they are begun by age."""
    begun = [job, *add(5)]
    others = add(30)
    rounds(control, clock)
    for one in begun:
        take(context, control, one)
    for one in reversed(begun):
        report(context, one, EventType.RELEASED)
        context.redis.claims.release(one.id, 1, token="node-a", ended=False)
        for _ in range(2):
            control.round()
    assert order(broker) == [one.id for one in [*begun, *others[:LEAST]]]
    with control.backend.database.read() as session:
        places = places_of(session, get_jobs(session, [one.id for one in (*begun, *others)]).values())
    assert [places[one.id] for one in (*begun, *others)] == list(range(1, 37))


def test_a_job_that_is_resumed_by_hand_waits_by_its_age(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., list[Job]],
    broker: Dispatch,
):  # fmt: skip
    """It was handed back once; that is over when somebody pauses it."""
    younger = add(1)[0]
    rounds(control, clock)
    take(context, control, younger)
    report(context, younger, EventType.RELEASED)
    control.round()
    for write in (write_pause, write_resume):
        with control.backend.database.write() as session:
            write(session, get_job(session, younger.id), now=clock.now())
    rounds(control, clock)
    assert order(broker) == [job.id, younger.id]


def test_priority_comes_after_what_was_handed_back_and_before_age(
    control: Control, context: WorkerContext, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    low = add(3)
    urgent = add(2, **of_priority(9))
    control.round()
    assert order(broker) == [one.id for one in (*urgent, job, *low)]
    take(context, control, low[2])
    report(context, low[2], EventType.RELEASED)
    for _ in range(2):
        control.round()
    assert order(broker) == [one.id for one in (low[2], *urgent, job, *low[:2])]


def test_urgent_jobs_take_the_place_of_the_last_in_a_full_window(
    control: Control, clock: Clock, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    usual = [job, *add(40)]
    rounds(control, clock)
    assert order(broker) == [one.id for one in usual[:LEAST]]
    urgent = add(3, **of_priority(9))
    control.round()
    assert order(broker) == [one.id for one in (*urgent, *usual[: LEAST - 3])]
    assert [one.id for one in usual if read(control, one).dispatched_at is not None] == [
        one.id for one in usual[: LEAST - 3]
    ]
    rounds(control, clock)
    assert order(broker) == [one.id for one in (*urgent, *usual[: LEAST - 3])]


def test_a_window_of_urgent_jobs_stays_as_it_is(
    control: Control, clock: Clock, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    urgent = add(40, **of_priority(8))
    rounds(control, clock)
    more = add(2, **of_priority(8))
    rounds(control, clock)
    assert order(broker) == [one.id for one in urgent[:LEAST]]
    assert not any(read(control, one).dispatched_at for one in (job, *more))


def test_those_of_all_priorities_lie_in_the_order_of_the_queue(
    control: Control, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    """Whichever came first, and whichever list of the broker they lie in."""
    by_priority: dict[int, list[Job]] = {5: [job]}
    for priority in (3, 7, 0, 9, 4, 6, 1, 8, 5, 2):
        by_priority.setdefault(priority, []).extend(add(1, **of_priority(priority)))
        control.round()
    expected = [one.id for priority in range(9, -1, -1) for one in by_priority[priority]]
    assert order(broker) == expected
    with control.backend.database.read() as session:
        places = places_of(session, get_jobs(session, expected).values())
    assert [places[job_id] for job_id in expected] == list(range(1, 12))


@pytest.mark.parametrize("given", [9, 6, 4, 0])
def test_a_job_whose_priority_changes_lies_in_its_new_place_once(
    control: Control, clock: Clock, job: Job, add: Callable[..., list[Job]], broker: Dispatch, given: int
):
    others = add(4)
    control.round()
    changed = others[1]
    with control.backend.database.write() as session:
        write_change(session, get_job(session, changed.id), ChangeBody(priority=given), now=clock.now())
    control.round()
    rest = [job, *[one for one in others if one is not changed]]
    expected = [changed, *rest] if given > 5 else [*rest, changed]
    assert order(broker) == [one.id for one in expected]
    rounds(control, clock)
    assert order(broker) == [one.id for one in expected]


def test_a_job_that_gets_less_urgent_than_the_window_leaves_it(
    control: Control, clock: Clock, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    usual = [job, *add(30)]
    rounds(control, clock)
    with control.backend.database.write() as session:
        write_change(session, get_job(session, job.id), ChangeBody(priority=1), now=clock.now())
    rounds(control, clock)
    assert order(broker) == [one.id for one in usual[1 : LEAST + 1]]


def test_what_was_handed_back_stays_first_when_its_priority_changes(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., list[Job]],
    broker: Dispatch,
):  # fmt: skip
    urgent = add(2, **of_priority(9))
    rounds(control, clock)
    take(context, control, job)
    report(context, job, EventType.RELEASED)
    context.redis.claims.release(job.id, 1, token="node-a", ended=False)
    control.round()
    with control.backend.database.write() as session:
        write_change(session, get_job(session, job.id), ChangeBody(priority=0), now=clock.now())
    rounds(control, clock)
    assert order(broker) == [one.id for one in (job, *urgent)]


def test_a_node_that_takes_the_last_at_this_moment_keeps_it(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., list[Job]],
    broker: Dispatch,
):  # fmt: skip
    usual = [job, *add(LEAST)]
    rounds(control, clock)
    last = usual[LEAST - 1]
    held = context.redis.client.lpop(usual_list(context.redis.names))
    assert json.loads(str(held))["headers"]["id"] == f"{last.id}:1"
    (urgent,) = add(1, **of_priority(9))
    control.round()
    assert order(broker)[0] == urgent.id
    assert context.redis.claims.claim(last.id, 1, token="node-a") == "ok"
    report(context, last, EventType.CLAIMED)
    rounds(control, clock)
    assert read(control, last).status == "running"
    assert order(broker) == [one.id for one in (urgent, *usual[: LEAST - 1])]


def test_canceled_jobs_leave_the_broker_and_others_take_their_room(
    control: Control, clock: Clock, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    jobs = [job, *add(40)]
    rounds(control, clock)
    for one in jobs[:10]:
        with control.backend.database.write() as session:
            write_cancel(session, get_job(session, one.id), now=clock.now())
    rounds(control, clock)
    assert order(broker) == [one.id for one in jobs[10 : 10 + LEAST]]


def test_a_message_of_a_running_job_stays_for_its_node(
    control: Control, context: WorkerContext, clock: Clock, job: Job, broker: Dispatch
):
    """The child died: Celery puts the message back, and the same node goes on under its lease."""
    rounds(control, clock)
    queue = usual_list(context.redis.names)
    text = context.redis.client.rpop(queue)
    context.redis.claims.claim(job.id, 1, token="node-a")
    report(context, job, EventType.CLAIMED)
    control.round()
    context.redis.client.lpush(queue, text)
    rounds(control, clock, seconds=5)
    assert order(broker) == [job.id]


def test_followers_are_neither_sent_nor_counted(
    control: Control, clock: Clock, job: Job, add: Callable[..., list[Job]], broker: Dispatch
):
    add(60, leader_id=job.id)
    others = add(30)
    rounds(control, clock)
    assert order(broker)[:LEAST] == [job.id, *[one.id for one in others[: LEAST - 1]]]

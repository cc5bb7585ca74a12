"""Followers: jobs that wait for another one which does the same work, and what becomes of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import StorageUnavailable
from shared.options import StyleOptions
from shared.protocol import EventType
from shared.storage.local import LocalStore
from tests.support.bench import history, read, report, waiting, work
from tests.support.clock import Clock
from web.control.followers import Followers
from web.control.process import Control
from web.db.models import Job
from web.jobs.actions import write_cancel, write_extend, write_pause, write_resume
from web.jobs.places import places_of
from web.jobs.queries import add_job, get_job, get_jobs
from worker.context import WorkerContext

_WORK = "ab" * 32


@pytest.fixture
def leader(control: Control, job: Job) -> Job:
    with control.backend.database.write() as session:
        get_job(session, job.id).work_sha256 = _WORK
    return read(control, job)


@pytest.fixture
def follow(control: Control, leader: Job):
    """A maker of followers of the leader."""

    def make(**extra: object) -> Job:
        with control.backend.database.write() as session:
            first = get_job(session, leader.id)
            return add_job(
                session, caller="local", name="again", content=first.content, style=first.style,
                options=StyleOptions.model_validate(first.options), labels={}, max_attempts=3,
                now=control.clock(), extra={"leader_id": leader.id, "work_sha256": _WORK, **extra},
            )  # fmt: skip

    return make


def change(control: Control, job: Job, request, **details) -> None:
    with control.backend.database.write() as session:
        request(session, get_job(session, job.id), now=control.clock(), **details)


def test_when_the_leader_is_canceled_one_goes_on_and_the_others_follow_it(
    control: Control, context: WorkerContext, leader: Job, follow
):
    first, second, third = follow(), follow(), follow()
    change(control, leader, write_cancel)
    control.round()
    assert read(control, first).leader_id is None
    assert read(control, second).leader_id == read(control, third).leader_id == first.id
    assert waiting(context) == 1
    work(context, read(control, first))
    control.round()
    control.round()
    for job in (second, third):
        given = read(control, job)
        assert (given.status, given.status_reason, given.leader_id) == ("succeeded", "reused", first.id)
        assert given.outputs[0]["sha256"] == read(control, first).outputs[0]["sha256"]


def test_a_paused_leader_is_not_waited_for_and_takes_nothing_back(
    control: Control, context: WorkerContext, leader: Job, follow
):
    follower = follow()
    change(control, leader, write_pause)
    control.round()
    assert read(control, follower).leader_id is None
    change(control, leader, write_resume)
    control.round()
    assert waiting(context) == 2
    assert read(control, follower).leader_id is None


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_result_that_cannot_be_had_is_computed(
    control: Control, context: WorkerContext, leader: Job, follow, damage: str
):
    work(context, leader)
    control.round()
    follower = follow()
    key = read(control, leader).outputs[0]["key"]
    if damage == "gone":
        context.store.delete(key)
    else:
        context.store.write(key, context.store.read(key)[:-1])
    control.round()
    alone = read(control, follower)
    assert (alone.status, alone.leader_id) == ("queued", None)
    assert alone.dispatched_at is not None


def test_a_full_storage_holds_nobody_up(control: Control, context: WorkerContext, leader: Job, follow):
    class Full(LocalStore):
        def write(self, key: str, data: bytes) -> None:
            raise StorageUnavailable("no space left")

    work(context, leader)
    control.round()
    follower = follow()
    full = Followers(replace(control.backend, storage=Full(context.store.root)), clock=control.clock)
    assert full.follow() == 1
    assert read(control, follower).leader_id is None


def test_a_leader_that_was_extended_does_other_work(
    control: Control, context: WorkerContext, leader: Job, follow
):
    """Between its success and the look for followers somebody asked it for more steps."""
    work(context, leader)
    control.projector.drain()
    follower = follow()
    change(control, leader, write_extend, steps=5)
    control.round()
    assert (read(control, leader).status, read(control, follower).leader_id) == ("queued", None)


def test_followers_take_no_place_and_no_message(
    control: Control, context: WorkerContext, leader: Job, follow, clock: Clock
):
    follower = follow()
    ids = [leader.id, follower.id]
    with control.backend.database.read() as session:
        assert places_of(session, get_jobs(session, ids).values()) == {leader.id: 1, follower.id: 1}
    control.round()
    assert waiting(context) == 1
    report(context, leader, EventType.CLAIMED)
    control.projector.drain()
    with control.backend.database.read() as session:
        assert places_of(session, get_jobs(session, ids).values()) == {}
    clock.seconds += 3600
    control.round()
    assert read(control, follower).dispatched_at is None


def test_a_follower_expires_like_any_other(control: Control, leader: Job, follow, clock: Clock):
    follower = follow(queue_deadline=control.clock() + timedelta(seconds=10))
    control.round()
    assert read(control, follower).status == "queued"
    clock.seconds += 11
    control.round()
    expired = read(control, follower)
    assert (expired.status, expired.leader_id) == ("expired", None)
    assert expired.error["code"] == "queue_deadline_passed"
    assert history(control, follower) == ["queued", "expired"]


def test_a_job_that_was_started_has_met_its_queue_deadline(
    control: Control, context: WorkerContext, job: Job, clock: Clock
):
    """Its worker dies, and the deadline passes while it waits for another one."""
    with control.backend.database.write() as session:
        get_job(session, job.id).queue_deadline = control.clock() + timedelta(seconds=10)
    report(context, job, EventType.CLAIMED)
    control.round()
    report(context, job, EventType.RELEASED)
    clock.seconds += 11
    control.round()
    waits = read(control, job)
    assert (waits.status, waits.status_reason) == ("queued", "worker_drained")


def test_copies_are_the_followers_own_bytes(control: Control, context: WorkerContext, leader: Job, follow):
    follower = follow()
    work(context, leader)
    control.round()
    control.round()
    context.store.delete_tree(f"jobs/{leader.id}")
    given = read(control, follower)
    data = context.store.read(given.outputs[0]["key"])
    assert hashlib.sha256(data).hexdigest() == given.outputs[0]["sha256"]

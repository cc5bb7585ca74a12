"""Every status under every trigger: the table itself, and a real row of the database."""

from __future__ import annotations

import pytest

from shared.status import FINAL_STATUSES, JobStatus
from tests.integration.jobs.model.expected import CONTROL, FINAL, REPORTS, REQUESTS, STATUSES, TABLE
from tests.integration.jobs.model.world import World
from web.jobs.states import TRANSITIONS, Trigger

#: How a new job comes into a status: requests, reports, and what control does.
WAYS = {
    "queued": "",
    "running": "claimed",
    "canceling": "claimed cancel",
    "paused": "pause",
    "succeeded": "claimed checkpointed succeeded",
    "failed": "claimed failed",
    "canceled": "cancel",
    "expired": "expire",
}
#: A running job whose worker is asked to pause is still running, but not quite the same.
PAUSING = "claimed pause"


def bring(world: World, way: str, *, max_attempts: int = 3) -> str:
    waits_seconds = 30 if way == "expire" else None
    job_id = world.submit(max_attempts=max_attempts, waits_seconds=waits_seconds)
    for act in way.split():
        do(world, job_id, act)
    return job_id


def do(world: World, job_id: str, act: str) -> None:
    if act in REQUESTS:
        world.ask(job_id, act, **({"more": 5} if act == "extend" else {}))
    elif act in CONTROL:
        world.pass_time(60)
    else:
        world.deliver(world.report(job_id, act, attempt=world.jobs[job_id].attempt))
    world.check()


def test_the_table_is_the_one_of_the_design():
    assert {
        (str(status), str(trigger)): str(after) for (status, trigger), after in TRANSITIONS.items()
    } == TABLE
    assert {str(status) for status in JobStatus} == set(STATUSES)
    assert {str(trigger) for trigger in Trigger} == {*REPORTS, *REQUESTS, *CONTROL}
    assert {str(status) for status in FINAL_STATUSES} == set(FINAL)


def test_every_status_is_reached_and_left_for_an_end():
    reached = {"queued"}
    while more := {after for (status, _), after in TRANSITIONS.items() if status in reached} - reached:
        reached |= more
    assert reached == set(STATUSES)
    ending = set(FINAL)
    while more := {status for (status, _), after in TRANSITIONS.items() if after in ending} - ending:
        ending |= more
    assert ending == set(STATUSES)


def test_every_status_ends_without_anybody_asking_for_it_but_a_paused_one():
    asked = {Trigger(name) for name in REQUESTS}
    ending = set(FINAL)
    while (
        more := {
            status
            for (status, trigger), after in TRANSITIONS.items()
            if after in ending and trigger not in asked
        }
        - ending
    ):
        ending |= more
    assert ending == set(STATUSES) - {"paused"}


def test_what_is_final_is_left_only_by_retry_and_extend():
    left = {
        (status, trigger) for (status, trigger), after in TABLE.items() if status in FINAL and after != status
    }
    assert left == {("failed", "retry"), ("canceled", "retry"), ("expired", "retry"), ("succeeded", "extend")}


@pytest.mark.parametrize("way", [*WAYS.values(), PAUSING])
def test_every_request_in_every_status(world: World, way: str):
    for request in REQUESTS:
        do(world, bring(world, way), request)


@pytest.mark.parametrize("status", ["queued", "running", "canceling", "paused"])
def test_a_row_that_has_changed_is_not_changed_through_an_old_copy(world: World, status: str):
    for request in REQUESTS:
        if (status, request) not in TABLE:
            continue
        job_id = bring(world, WAYS[status])
        copy = world.row(job_id)
        do(world, job_id, "checkpointed")
        assert world.row(job_id).status == status
        world.ask(job_id, request, copy=copy)
        world.check()


@pytest.mark.parametrize("way", [*WAYS.values(), PAUSING])
def test_every_report_in_every_status(world: World, way: str):
    for kind in (*REPORTS, "checkpointed"):
        job_id = bring(world, way)
        attempt = world.jobs[job_id].attempt
        event = world.report(job_id, kind, attempt=attempt, worker="node-b")
        # Once, again, and of an attempt that is not the job's.
        for report in (event, event, world.report(job_id, kind, attempt=attempt + 1)):
            world.deliver(report)
            world.check()


def test_a_worker_that_was_taken_for_lost_gets_its_attempt_no_more(world: World):
    job_id = world.submit()
    world.claim(job_id, 1, "node-a")
    world.lose_lease(job_id)
    world.rescue()
    world.claim(job_id, 1, "node-a")
    world.check()
    assert (world.row(job_id).status, world.row(job_id).attempt) == ("queued", 2)
    world.claim(job_id, 2, "node-b")
    world.check()


@pytest.mark.parametrize("way", ["claimed", "claimed cancel", PAUSING])
def test_a_lost_report_of_success_is_repaired_from_the_marker(world: World, way: str):
    job_id = bring(world, way)
    world.commit(job_id)
    world.rescue()
    world.check()
    assert world.row(job_id).status == "succeeded"
    world.deliver(world.report(job_id, "succeeded", attempt=1))
    world.check()


@pytest.mark.parametrize("way", [*WAYS.values(), PAUSING])
@pytest.mark.parametrize("max_attempts", [1, 2])
def test_a_lost_lease_and_a_passed_deadline_in_every_status(world: World, way: str, max_attempts: int):
    bring(world, way, max_attempts=max_attempts)
    world.rescue()
    world.check()
    world.pass_time(60)
    world.check()

"""Nodes of the first release, whose names in Redis anybody may have used for something else."""

from __future__ import annotations

import pytest
from redis import Redis

from shared.protocol import EventType
from shared.redis.names import FIRST_NAMES
from tests.support.bench import read, report, rounds, waiting
from tests.support.clock import Clock
from web.control.first_release import FirstReleaseNodes
from web.control.process import Control
from web.db.models import Job
from worker.context import WorkerContext

QUEUE = FIRST_NAMES.queue("any")


def strangers(client: Redis, job: Job) -> None:
    """Put something of another type under every old name."""
    for name in (*FIRST_NAMES.queue_lists("any"), FIRST_NAMES.unacked_index, FIRST_NAMES.key("events")):
        client.set(name, "somebody else's")
    client.lpush(FIRST_NAMES.unacked, "x")
    for name in ("lease", "progress", "worker", "job"):
        client.lpush(FIRST_NAMES.key(name, job.id), "x")


def test_what_others_have_under_the_old_names_holds_up_nothing(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    nodes = FirstReleaseNodes(control.backend, clock=clock.now)
    strangers(context.redis.client, job)
    rounds(control, clock)
    report(context, job, EventType.CLAIMED)
    control.round()
    nodes.step()
    context.redis.client.delete(FIRST_NAMES.unacked_index)
    context.redis.client.zadd(FIRST_NAMES.unacked_index, {"tag": clock.now().timestamp()})
    nodes.step()
    assert read(control, job).status == "running"
    nodes.close()


@pytest.mark.parametrize("message_id", ["\\ud800:1", "\\u0000:1", "x" * 100_000])
def test_an_old_entry_with_an_id_that_no_database_takes_is_left_alone(
    control: Control, context: WorkerContext, clock: Clock, job: Job, message_id: str
):
    nodes = FirstReleaseNodes(control.backend, clock=clock.now)
    context.redis.client.lpush(QUEUE, f'{{"headers": {{"id": "{message_id}"}}}}')
    nodes.step()
    assert context.redis.client.llen(QUEUE) == 1
    rounds(control, clock)
    assert waiting(context) == 1
    nodes.close()

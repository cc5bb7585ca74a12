"""A job that was begun goes on where it was begun; elsewhere only after a while, and then it says so."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.broker import Dispatch, route_at
from shared.clock import utc_now
from shared.errors import StorageUnavailable
from shared.protocol import NUMERICS_PROTOCOL, JobMessage, read_marker
from shared.redis.workers import WorkerBeat, WorkerState
from shared.settings import Settings
from shared.storage import layout
from tests.support.bench import history, read, rounds
from tests.support.clock import Clock
from tests.support.engines import SteadyEngine
from web.control.messages import message_for
from web.control.process import Control
from web.db.models import Job
from web.jobs.actions import write_retry
from web.jobs.queries import get_job
from web.jobs.queue import count_dispatched
from web.jobs.transitions import list_attempts, list_checkpoints
from worker.context import WorkerContext
from worker.runner import Outcome, Runner

GPU, CPU = {"gatys": "gpu"}, {"gatys": "cpu"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"exact_seconds": 40, "worker_seconds": 3000})


@pytest.fixture
def connect(control: Control) -> Callable[..., None]:
    def do(name: str, numerics: dict[str, str], **more: object) -> None:
        now = utc_now()
        control.backend.redis.workers.beat(
            WorkerBeat(
                worker_id=name, device=name, weights="w", started_at=now, at=now, numerics=numerics, **more
            )
        )

    return do


def waiting(control: Control, settings: Settings) -> dict[str, list[str]]:
    """The ids of the messages that wait, by route."""
    dispatch, found = Dispatch(settings, control.backend.redis), {}
    for route in ("any", route_at("any", "gpu"), route_at("any", "cpu")):
        found[route] = [entry.message_id for entry in dispatch.look([route]).entries]
    dispatch.close()
    return {route: ids for route, ids in found.items() if ids}


def run(
    context: WorkerContext, message: JobMessage, numerics: dict[str, str], *, drain_at: int = 0
) -> Outcome:
    """Carry a message out on a node of some numerics; drained at a step, if one is given."""
    engine = SteadyEngine()
    node = replace(context, numerics=numerics)
    return Runner(node, engine, draining=lambda: 0 < drain_at <= engine.steps_made).run(message)


def take(control: Control, settings: Settings, job: Job) -> None:
    """Take what waits off the broker, as nodes do."""
    dispatch = Dispatch(settings, control.backend.redis)
    for route in waiting(control, settings):
        dispatch.remove(dispatch.look([route]).entries)
    dispatch.close()


@pytest.fixture
def begun(
    control: Control, context: WorkerContext, settings: Settings, job: Job, connect: Callable[..., None]
) -> Job:
    """A job that a node on a GPU has begun and handed back at step 7, with another node on a CPU."""
    connect("a", GPU)
    connect("b", CPU)
    control.round()
    assert waiting(control, settings) == {"any": [f"{job.id}:1"]}  # what begins goes anywhere
    take(control, settings, job)
    assert run(context, message_for(job), GPU, drain_at=7) is Outcome.RELEASED
    return job


def test_it_goes_on_where_it_was_begun(control, context, settings, begun):
    control.round()
    control.round()
    row = read(control, begun)
    assert (row.numerics, row.pinned_to, row.is_exact) == ("gpu", "gpu", True)
    assert waiting(control, settings) == {route_at("any", "gpu"): [f"{begun.id}:1"]}
    message = message_for(row, numerics="gpu")
    assert message.least_protocol == NUMERICS_PROTOCOL
    take(control, settings, begun)
    assert run(context, message, GPU) is Outcome.ENDED
    control.round()
    row = read(control, begun)
    assert (row.status, row.numerics, row.is_exact) == ("succeeded", "gpu", True)


def test_it_waits_for_such_a_node_however_long_as_long_as_one_lives(control, clock, settings, begun):
    control.round()
    for _ in range(5):
        rounds(control, clock, seconds=600)
        assert waiting(control, settings) == {route_at("any", "gpu"): [f"{begun.id}:1"]}


def test_without_such_a_node_it_goes_elsewhere_after_a_while_and_says_so(
    control, context, clock: Clock, settings, begun, connect
):
    connect("a", GPU, state=WorkerState.DRAINING)
    control.round()
    control.round()
    assert waiting(control, settings) == {route_at("any", "gpu"): [f"{begun.id}:1"]}
    rounds(control, clock, seconds=30)
    assert waiting(control, settings) == {route_at("any", "gpu"): [f"{begun.id}:1"]}
    rounds(control, clock, seconds=30)
    rounds(control, clock, seconds=5)
    assert waiting(control, settings) == {"any": [f"{begun.id}:1"]}
    row = read(control, begun)
    assert row.pinned_to is None
    take(control, settings, begun)
    assert run(context, message_for(row), CPU, drain_at=6) is Outcome.RELEASED  # step 13
    control.round()
    assert (read(control, begun).numerics, read(control, begun).is_exact) == ("cpu", False)
    # Once it is a mixture no node makes it exact any more.
    assert run(context, message_for(read(control, begun)), CPU) is Outcome.ENDED
    control.round()
    row = read(control, begun)
    assert (row.status, row.numerics, row.is_exact) == ("succeeded", "cpu", False)
    marker = read_marker(context.store.read(layout.marker_key(begun.id, 1)))
    assert (marker.numerics, marker.exact) == ("cpu", False)
    with control.backend.database.read() as session:
        (attempt,) = list_attempts(session, begun.id)
        kept = {one.step: one.numerics for one in list_checkpoints(session, begun.id)}
    assert (attempt.numerics, attempt.is_exact) == ("cpu", False)
    assert kept == {5: "gpu", 7: "gpu", 10: "cpu", 13: "cpu", 15: "cpu", 20: "cpu"}
    assert history(control, begun)[-1] == "succeeded"


def test_a_lost_one_goes_on_there_too(control, context, clock, settings, job, connect):
    connect("a", GPU)
    connect("b", CPU)
    control.round()
    take(control, settings, job)

    def fail(step: int) -> None:
        if step == 8:
            raise StorageUnavailable("gone")

    node = replace(context, numerics=GPU)
    Runner(node, SteadyEngine(fail), draining=lambda: False).run(message_for(job))
    rounds(control, clock)
    rounds(control, clock, seconds=1)
    row = read(control, job)
    assert (row.step, row.numerics) == (5, "gpu")
    assert waiting(control, settings) == {route_at("any", "gpu"): [f"{job.id}:{row.attempt}"]}


def test_where_all_nodes_are_alike_it_waits_with_the_others_and_asks_for_them(
    control, context, settings, job, connect
):
    connect("a", GPU)
    connect("b", GPU)
    control.round()
    take(control, settings, job)
    assert run(context, message_for(job), GPU, drain_at=7) is Outcome.RELEASED
    control.round()
    control.round()
    assert waiting(control, settings) == {"any": [f"{job.id}:1"]}
    assert read(control, job).pinned_to is None
    (text,) = context.redis.client.lrange(context.redis.names.queue("any"), 0, -1)
    assert _message(text)["numerics"] == "gpu"


def test_what_an_older_release_has_begun_goes_on_anywhere_and_nobody_knows(
    control, context, settings, job, connect
):
    connect("a", {})
    connect("b", CPU)
    control.round()
    take(control, settings, job)
    assert run(context, message_for(job), {}, drain_at=7) is Outcome.RELEASED
    control.round()
    control.round()
    assert waiting(control, settings) == {"any": [f"{job.id}:1"]}
    take(control, settings, job)
    assert run(context, message_for(read(control, job)), CPU) is Outcome.ENDED
    control.round()
    row = read(control, job)
    assert (row.status, row.numerics, row.is_exact) == ("succeeded", "cpu", None)


def test_from_zero_it_begins_anywhere(control, context, settings, begun, connect):
    for name in ("a", "b"):
        connect(name, GPU if name == "a" else CPU)
    control.round()
    take(control, settings, begun)
    message = message_for(read(control, begun), numerics="gpu")
    assert run(context, message, GPU) is Outcome.ENDED
    control.round()
    with control.backend.database.write() as session:
        row = get_job(session, begun.id)
        write_retry(session, row, now=utc_now(), from_zero=True, is_result_lost=True)
    row = read(control, begun)
    assert row.numerics is None
    control.round()
    assert waiting(control, settings) == {"any": [f"{begun.id}:{row.attempt}"]}


def test_messages_that_wait_for_some_node_take_no_place_from_others(control, clock, settings, begun, connect):
    connect("a", GPU, state=WorkerState.DRAINING)
    control.round()
    with control.backend.database.read() as session:
        assert count_dispatched(session)["any"].count == 0


def _message(text: str) -> dict:
    body = json.loads(base64.b64decode(json.loads(text)["body"]))
    return body[1]["message"]

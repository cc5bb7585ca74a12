"""Where a job that was begun goes on: the decision, and the routes of nodes with some numerics."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.broker import ROUTES, route_at, routes_of
from shared.clock import utc_now
from shared.options import Method
from shared.redis.workers import WorkerBeat, WorkerState
from web.jobs.routing import ANYWHERE, Place, decide_place

PATIENCE = timedelta(seconds=60)
HERE, THERE = Place(None, "gpu"), Place("gpu", "gpu")


def beat(numerics: str | None, **more: object) -> WorkerBeat:
    told = {} if numerics is None else {"gatys": numerics, "fast": "other"}
    now = utc_now()
    return WorkerBeat(worker_id="w", device="d", weights="w", started_at=now, at=now, numerics=told, **more)


GPU, CPU, OLD = beat("gpu"), beat("cpu"), beat(None)


@pytest.mark.parametrize(
    ("numerics", "beats", "waited_seconds", "place"),
    [
        (None, [GPU, CPU], 0, ANYWHERE),  # it begins anew, or nobody knows
        ("gpu", [GPU, GPU], 0, HERE),  # all are alike
        ("gpu", [GPU, CPU], 0, THERE),
        ("gpu", [GPU, CPU], 9999, THERE),  # as long as such a node lives
        ("gpu", [GPU, OLD], 9999, THERE),  # an older release says nothing
        ("gpu", [CPU], 59.9, THERE),  # one may come
        ("gpu", [CPU], 60, ANYWHERE),
        ("gpu", [OLD], 60, ANYWHERE),
        ("gpu", [], 0, THERE),
        ("gpu", [], 60, ANYWHERE),
        ("gpu", [beat("gpu", state=WorkerState.DRAINING), CPU], 60, ANYWHERE),
        ("gpu", [beat("gpu", state=WorkerState.UNHEALTHY), CPU], 60, ANYWHERE),
        ("gpu", [beat("gpu", state=WorkerState.BUSY), CPU], 60, THERE),
        ("gpu", [beat("gpu", methods=["fast"]), CPU], 60, ANYWHERE),
        ("gpu", [GPU, beat("cpu", methods=["fast"])], 0, HERE),  # which would not take it
    ],
)
def test_where_a_job_goes_on(numerics, beats, waited_seconds, place):
    waited = timedelta(seconds=waited_seconds)
    assert decide_place(numerics, beats, "any", waited=waited, patience=PATIENCE) == place


def test_a_node_that_failed_it_is_none_where_it_could_go_on():
    """Or a job that only one kind fails would go back there for ever, and never be judged."""

    def place(*beats: WorkerBeat, waited_seconds: float = 0) -> Place:
        waited = timedelta(seconds=waited_seconds)
        return decide_place("gpu", beats, "any", waited=waited, patience=PATIENCE, failed_at={"w", "x"})

    assert place(GPU, CPU) == place(GPU) == ANYWHERE
    assert place(GPU, GPU.model_copy(update={"worker_id": "y"}), CPU) == THERE
    # While it rests, one of its kind may come.
    assert place(CPU) == THERE
    assert place(CPU, waited_seconds=60) == ANYWHERE


def test_routes_of_some_numerics():
    own, other = route_at("any", "gpu"), route_at("any", "cpu")
    assert route_at("any", None) == "any"
    assert len({own, other, route_at("both", "gpu"), *ROUTES}) == 3 + len(ROUTES)
    assert routes_of([Method.GATYS], numerics="gpu") == [own, "any"]
    assert routes_of(list(Method), numerics="gpu") == ["fast", route_at("both", "gpu"), own, "both", "any"]
    assert routes_of([Method.FAST], numerics=None) == routes_of([Method.FAST], numerics="x") == ["fast"]

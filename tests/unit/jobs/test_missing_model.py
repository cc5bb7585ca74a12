"""When a job of the fast method is refused, and what is said of a method that no worker serves."""

from __future__ import annotations

import pytest

from shared.broker import route_for
from shared.clock import utc_now
from shared.options import StyleOptions, parse_options
from shared.redis.workers import WorkerBeat, WorkerState
from web.jobs.routing import decide_no_model, why_not_served

NOW = utc_now()
FAST = parse_options({"method": "fast"})
BOTH = parse_options({"init": "fast"})


def beat(worker_id: str, *methods: str, **facts: object) -> WorkerBeat:
    known = {"device": "cpu", "weights": "untrained", "started_at": NOW, "at": NOW}
    return WorkerBeat(worker_id=worker_id, **{**known, "methods": list(methods), **facts})


#: It would serve both, and has no model.
LACKING = beat("gpu", "gatys", not_served={"fast": "no model: install it"})
#: Somebody wants it to serve the one alone.
CHOSEN = beat("chosen", "gatys")
LIGHT = beat("light", "fast")
#: It would serve both, and has no TensorFlow.
SMALL = beat("small", "fast", not_served={"gatys": "no TensorFlow"})


@pytest.mark.parametrize(
    ("options", "beats"),
    [
        (FAST, [LACKING]),
        (FAST, [LACKING, CHOSEN]),
        (BOTH, [LACKING]),
        # Each serves a half, and no worker serves both.
        (BOTH, [LACKING, LIGHT]),
        (BOTH, [LACKING, SMALL]),
    ],
)
def test_it_is_refused_where_no_worker_serves_it_and_one_lacks_the_model(options, beats):
    refusal = decide_no_model(options, beats)
    name = "method" if options is FAST else "init"
    assert refusal is not None
    assert (refusal.faults[0].pointer, refusal.faults[0].code) == (f"/options/{name}", refusal.code)
    assert f"{name} is 'fast'" in refusal.detail
    assert "gpu: no model: install it" in refusal.detail
    assert "requirements/fast.txt" in (refusal.suggestion or "")


@pytest.mark.parametrize(
    ("options", "beats"),
    [
        (FAST, None),
        (FAST, []),
        (FAST, [CHOSEN]),  # a light worker may come
        (BOTH, [CHOSEN, LIGHT]),
        (FAST, [LACKING, LIGHT]),
        (FAST, [LACKING, beat("new", "fast", state=WorkerState.STARTING)]),
        (FAST, [LACKING, beat("ill", "fast", state=WorkerState.UNHEALTHY)]),
        (FAST, [beat("other", not_served={"gatys": "no TensorFlow"})]),
        (StyleOptions(), [LACKING]),
        (StyleOptions(), [SMALL]),
    ],
)
def test_it_is_taken_where_a_worker_serves_it_or_may_come(options, beats):
    assert decide_no_model(options, beats) is None


def test_workers_that_lack_it_for_one_reason_are_named_together():
    refusal = decide_no_model(FAST, [LACKING, LACKING.model_copy(update={"worker_id": "cpu"})])
    assert refusal is not None
    assert refusal.detail.endswith("has the model for it: cpu, gpu: no model: install it")


def test_a_job_that_waits_is_told_why_nobody_serves_it():
    said = why_not_served([LACKING, CHOSEN], route_for(FAST.methods))
    assert said == "no worker that is connected serves the method 'fast' (gpu: no model: install it)"
    said = why_not_served([CHOSEN], route_for(FAST.methods))
    assert said == "no worker that is connected serves the method 'fast'"
    said = why_not_served([SMALL], route_for(StyleOptions().methods))
    assert said == "no worker that is connected serves the method 'gatys' (small: no TensorFlow)"

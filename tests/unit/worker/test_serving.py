"""Which methods a node serves, and which of its engines a job is for."""

from __future__ import annotations

import pytest

from shared.broker import DEFAULT_ROUTE, FAST_ROUTE, ROUTES, route_for, routes_of
from shared.errors import InvalidSettings
from shared.options import Method, StyleOptions, parse_options
from tests.support.engines import OneStepEngine, SteadyEngine
from worker.serving import NodeEngine, decide_methods

BOTH = frozenset(Method)
WELL = {Method.GATYS: None, Method.FAST: None}
NO_MODEL = {Method.GATYS: None, Method.FAST: "no model"}
NO_TENSORFLOW = {Method.GATYS: "no TensorFlow", Method.FAST: None}
NOTHING = {Method.GATYS: "no TensorFlow", Method.FAST: "no model"}


@pytest.mark.parametrize(
    ("asked", "why_not", "served"),
    [
        ("auto", WELL, BOTH),
        ("auto", NO_MODEL, {Method.GATYS}),
        ("auto", NO_TENSORFLOW, {Method.FAST}),
        # What is named is served, or refused with more words when it is loaded; the rest is not wanted.
        ("gatys", NO_MODEL, {Method.GATYS}),
        ("fast", NOTHING, {Method.FAST}),
        ("gatys", WELL, {Method.GATYS}),
        ("fast, gatys", WELL, BOTH),
    ],
)
def test_the_methods_that_are_served(asked, why_not, served):
    chosen = decide_methods(asked, why_not)
    assert chosen.served == served
    lacking = {Method.FAST: "no model", Method.GATYS: "no TensorFlow"}
    expected = BOTH - served if asked == "auto" else set()
    assert chosen.not_served == {method: lacking[method] for method in expected}


@pytest.mark.parametrize(
    ("asked", "why_not", "said"),
    [
        ("auto", NOTHING, "can serve no method: gatys: no TensorFlow; fast: no model"),
        ("slow", WELL, "'slow' is no method; known are auto, gatys, fast"),
        ("", WELL, "'' is no method"),
        ("fast,", WELL, "'' is no method"),
        ("auto,fast", WELL, "'auto' is no method"),
    ],
)
def test_what_cannot_be_served_is_refused(asked, why_not, said):
    with pytest.raises(InvalidSettings, match=said):
        decide_methods(asked, why_not)


def test_every_job_has_one_route_and_every_node_takes_what_it_serves():
    assert routes_of(BOTH) == list(ROUTES)
    assert routes_of(BOTH)[0] == FAST_ROUTE
    assert routes_of([Method.GATYS]) == [DEFAULT_ROUTE]
    assert routes_of([Method.FAST]) == [FAST_ROUTE]
    for values in ({}, {"method": "fast"}, {"init": "fast"}):
        methods = parse_options(values).methods
        for served in (BOTH, {Method.GATYS}, {Method.FAST}):
            assert (route_for(methods) in routes_of(served)) == (methods <= served)


def test_a_job_is_its_methods():
    gatys, fast = SteadyEngine(), OneStepEngine()
    fast.notice = None
    engine = NodeEngine({Method.GATYS: gatys, Method.FAST: fast})
    assert engine.notice == gatys.notice
    slow, quick = StyleOptions(steps=3), StyleOptions(method="fast")
    assert engine.made_by(slow) == gatys.made_by(slow)
    assert engine.made_by(quick) == fast.made_by(quick)
    assert [step.steps for step in engine.stylize(b"c", b"s", slow)] == [3, 3, 3]
    (step,) = engine.stylize(b"c", b"s", quick)
    assert (step.losses, step.has_state) == (None, False)

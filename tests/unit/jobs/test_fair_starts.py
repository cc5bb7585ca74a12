"""Where a caller's next job stands, and when what waits of a caller is moved."""

from __future__ import annotations

import pytest

from web.jobs.fairness import FlowState, decide_shift, decide_start


@pytest.mark.parametrize(
    ("flow", "start"),
    [
        (FlowState(), 0.0),
        # Who comes after a while has saved nothing up, and owes nothing.
        (FlowState(virtual_time=900.0, finish=100.0), 900.0),
        # What runs counts, as does what waits.
        (FlowState(virtual_time=900.0, finish=950.0), 950.0),
        (FlowState(virtual_time=900.0, finish=950.0, first=950.0, last=1010.0), 1010.0),
        # What waits may be far ahead of what was begun, and what was begun of what waits.
        (FlowState(virtual_time=10.0, finish=500.0, first=20.0, last=30.0), 500.0),
    ],
)
def test_a_job_starts_where_those_before_it_end_and_not_before_the_virtual_time(flow, start):
    assert decide_start(flow) == start


@pytest.mark.parametrize(
    ("flow", "shift"),
    [
        (FlowState(virtual_time=10.0, finish=1000.0), 0.0),  # nothing waits
        (FlowState(virtual_time=10.0, finish=50.0, first=50.0), 0.0),
        (FlowState(virtual_time=10.0, finish=50.0, first=110.0), 0.0),  # a minute
        # Jobs before it have left: it takes their place, but goes to no time that has passed.
        (FlowState(virtual_time=10.0, finish=50.0, first=111.0), -61.0),
        (FlowState(virtual_time=70.0, finish=50.0, first=131.0), -61.0),
        # What was begun takes longer than it was reckoned with.
        (FlowState(virtual_time=10.0, finish=171.0, first=110.0), 61.0),
        (FlowState(virtual_time=10.0, finish=170.0, first=110.0), 0.0),
        # Long jobs are moved when they are four of them off.
        (FlowState(virtual_time=10.0, finish=50.0, first=450.0, first_seconds=100.0), 0.0),
        (FlowState(virtual_time=10.0, finish=50.0, first=451.0, first_seconds=100.0), -401.0),
        # Who has a fleet at work is off by as many jobs in a minute.
        (FlowState(virtual_time=10.0, finish=900.0, first=110.0, running=11), 0.0),
        (FlowState(virtual_time=10.0, finish=903.0, first=110.0, running=11), 793.0),
        # That others went on is no reason to move back.
        (FlowState(virtual_time=5000.0, finish=50.0, first=50.0), 0.0),
    ],
)
def test_what_waits_is_moved_once_it_is_off_by_more_than_a_few_jobs(flow, shift):
    assert decide_shift(flow) == shift
    if shift:
        moved = FlowState(flow.virtual_time, flow.finish, flow.first + shift, flow.first_seconds)
        assert decide_shift(moved) == 0.0

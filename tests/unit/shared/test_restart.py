"""The decision about a process that ended by itself."""

from __future__ import annotations

import pytest

from shared.processes import Ending, decide_restart, describe_code


def test_delays_double_up_to_half_a_minute():
    delays, earlier = [], 0
    for _ in range(8):
        decision = decide_restart(Ending(code=1, ran_seconds=0.1, earlier=earlier))
        delays.append(decision.delay_seconds)
        earlier = decision.earlier
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_minute_without_an_ending_forgives_the_earlier_ones():
    decision = decide_restart(Ending(code=-9, ran_seconds=61, earlier=5))
    assert (decision.delay_seconds, decision.earlier) == (0.5, 1)


def test_a_final_code_is_never_started_again():
    assert decide_restart(Ending(3, 0.1, 0), final_codes=frozenset({3})).delay_seconds is None
    assert decide_restart(Ending(3, 0.1, 0)).delay_seconds == 0.5


def test_a_huge_count_does_not_overflow():
    assert decide_restart(Ending(1, 0, 100_000)).delay_seconds == 30


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal SIGKILL"), (-250, "signal 250")]
)
def test_codes_as_people_say_them(code, text):
    assert describe_code(code) == text

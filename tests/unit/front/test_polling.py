"""When streams look at their jobs of themselves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.front.application import seconds_to_poll
from web.services import Spread


@given(st.floats(0, 1e7), st.floats(0.1, 100), st.floats(0, 1))
def test_a_look_comes_in_time(now, every, phase):
    assert every * 0.499 <= seconds_to_poll(now, every=every, phase=phase) <= every * 1.501


@pytest.mark.parametrize("count", [20, 200, 500])
def test_those_that_one_change_has_woken_part_again(count):
    spread, now, every = Spread(), 1234.5, 2.0
    looks = [now + seconds_to_poll(now, every=every, phase=spread.next()) for _ in range(count)]
    for _ in range(3):
        tenths = Counter(int(look * 10) for look in looks)
        # Spread evenly over two seconds there would be a twentieth in each tenth of a second.
        assert max(tenths.values()) <= count / 20 * 1.5 + 2
        looks = [look + 2.0 for look in looks]


def test_from_one_look_to_the_next_it_is_as_long_as_it_should():
    now, phase = 77.7, 0.3
    for _ in range(5):
        then = now + seconds_to_poll(now, every=2.0, phase=phase)
        now = then
    assert seconds_to_poll(now, every=2.0, phase=phase) == pytest.approx(2.0)

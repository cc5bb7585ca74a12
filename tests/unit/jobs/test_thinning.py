"""Which checkpoints of a job keep their states."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from web.jobs.thinning import decide_given_up


@pytest.mark.parametrize(
    ("steps", "most", "more", "given_up"),
    [
        ([], 4, {}, []),
        ([10], 0, {}, []),
        ([10, 20], 0, {}, []),
        ([10, 20, 30], 3, {}, []),
        ([10, 20, 30], 2, {}, [10]),
        ([10, 20, 30], 0, {}, [10]),
        ([30, 10, 20], 2, {}, [10]),
        ([10, 20, 30, 40, 50], 4, {}, [10]),
        # Without 12 the gap is the smallest.
        ([10, 12, 20, 30, 40], 4, {}, [12]),
        ([10, 20, 30, 40], 2, {}, [10, 20]),
        ([10, 20, 30, 40], 2, {"needed": {20}}, [10]),
        ([10, 20, 30, 40], 3, {"needed": {10, 20}}, []),
        ([10, 20, 30, 40], 3, {"needed": {7}}, [10]),
        # A fork of step 9 has its first checkpoint right behind its beginning.
        ([10, 20, 30, 40], 3, {"begun_at": 9}, [10]),
        ([11, 20, 30, 40], 3, {}, [20]),
    ],
)
def test_what_is_given_up(steps, most, more, given_up):
    assert decide_given_up(steps, most=most, **more) == given_up


def thinned(steps: list[int], most: int) -> list[int]:
    """What is kept when the budget is looked at after each checkpoint."""
    kept: list[int] = []
    for step in steps:
        kept.append(step)
        given_up = decide_given_up(kept, most=most)
        kept = [one for one in kept if one not in given_up]
    return kept


@given(
    some.sets(some.integers(1, 2000), max_size=40), some.integers(0, 12), some.sets(some.integers(1, 2000))
)
def test_the_budget_is_kept_but_for_what_stays(steps, most, needed):
    given_up = decide_given_up(steps, most=most, needed=needed)
    kept = steps - set(given_up)
    staying = {*sorted(steps)[-2:], *(needed & steps)}
    assert len(given_up) == len(set(given_up)) == len(steps) - len(kept)
    assert staying <= kept
    assert len(kept) <= max(most, len(staying))
    assert len(kept) >= min(most, len(steps))


@given(some.integers(3, 12), some.integers(1, 200))
def test_those_that_stay_are_spread_over_all_steps_however_many_come(most, count):
    steps = [10 * number for number in range(1, count + 1)]
    kept = thinned(steps, most)
    assert kept[-2:] == steps[-2:]
    assert len(kept) == min(most, count)
    gaps = [after - before for before, after in pairwise([0, *kept])]
    # As even as can be would be steps / most; the last two stand side by side.
    assert max(gaps) <= 2 * max(10, steps[-1] / (most - 1)) + 10

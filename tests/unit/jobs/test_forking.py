"""What a fork may change of its parent's options, and how steps are named: pure."""

from __future__ import annotations

import pytest

from shared.errors import InvalidOptions
from shared.options import StyleOptions
from web.jobs.forking import fork_options, name_steps

PARENT = StyleOptions(steps=50, size=64, style_weight=0.5).model_dump()


def test_what_is_not_given_is_the_parents():
    assert fork_options(PARENT, {}, step=10) == StyleOptions.model_validate(PARENT)
    changed = fork_options(PARENT, {"style_weight": 2, "steps": 11, "size": 64}, step=10)
    assert changed == StyleOptions(steps=11, size=64, style_weight=2)


def test_another_preset_decides_all_but_size_and_steps():
    gentle = fork_options(PARENT, {"preset": "gentle"}, step=10)
    assert (gentle.preset, gentle.style_weight) == ("gentle", StyleOptions(preset="gentle").style_weight)
    assert (gentle.steps, gentle.size) == (50, 64)
    assert fork_options(PARENT, {"preset": "fine"}, step=10).size == 64
    assert fork_options(PARENT, {"preset": "bold", "style_weight": 2}, step=10).style_weight == 2


@pytest.mark.parametrize(
    ("changes", "step", "pointers", "detail"),
    [
        ({"size": 65}, 10, ["/options/size"], "size is 65; a fork keeps the 64 px"),
        ({}, 50, ["/options/steps"], "steps is 50, as in the job that is forked; it must be more than 50"),
        ({"steps": 10}, 10, ["/options/steps"], "steps is 10; it must be more than 10"),
        ({"steps": 5, "size": 32}, 10, ["/options/size", "/options/steps"], "size is 32"),
        ({"steps": 5000}, 10, ["/options/steps"], "allowed is 1 to 2000"),
        ({"preset": "baroque"}, 10, ["/options/preset"], "preset is 'baroque'; allowed are classic"),
        ({"stepz": 60}, 10, ["/options/stepz"], "did you mean steps?"),
        ({"content_weight": 0, "style_weight": 0}, 10, ["/options"], "are both 0"),
        ([1], 10, ["/options"], "options must be an object, not an array"),
        (None, 10, ["/options"], "options must be an object, not null"),
    ],
)
def test_what_does_not_fit_is_named(changes, step, pointers, detail):
    with pytest.raises(InvalidOptions) as caught:
        fork_options(PARENT, changes, step=step)
    assert [fault.pointer for fault in caught.value.faults] == pointers
    assert detail in caught.value.detail


def test_many_steps_are_named_by_the_first_and_the_last():
    assert name_steps([]) == "no other is kept"
    assert name_steps([20, 10]) == "kept are those of step 10, 20"
    assert name_steps(range(1, 41)) == "kept are those of step 1, 2, 3, 4, 5, 6, …, 35, 36, 37, 38, 39, 40"

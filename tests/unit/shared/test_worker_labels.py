"""The labels of a worker, as its operator writes them."""

from __future__ import annotations

import pytest

from shared.errors import InvalidSettings
from shared.redis.workers import read_labels


@pytest.mark.parametrize(
    ("told", "labels"),
    [
        ("", {}),
        (" ", {}),
        ("zone=a", {"zone": "a"}),
        ("zone=a, class=Big-1.2_x", {"zone": "a", "class": "Big-1.2_x"}),
    ],
)
def test_what_is_told_of_a_worker(told, labels):
    assert read_labels(told) == labels


@pytest.mark.parametrize(
    "told",
    ["zone", "zone=", "=a", "Zone=a", "zone=a b", "zone=a,", "zone=ä", "zone=a=b", "z" * 64 + "=a", "\0=a"],
)
def test_what_is_no_label_is_refused(told):
    with pytest.raises(InvalidSettings, match=r"--labels has '.*'; a label is KEY=VALUE"):
        read_labels(told)


def test_one_key_twice_and_too_many_are_refused():
    with pytest.raises(InvalidSettings, match="--labels has 'zone' twice"):
        read_labels("zone=a,zone=b")
    told = ",".join(f"k{number}=v" for number in range(17))
    with pytest.raises(InvalidSettings, match="has 17 labels; allowed are 16"):
        read_labels(told)

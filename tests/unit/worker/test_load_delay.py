"""An engine that cannot be loaded is tried again, ever more seldom."""

from worker.child import decide_load_delay_seconds


def test_the_first_load_waits_for_nothing_and_the_next_ones_ever_longer():
    delays = [decide_load_delay_seconds(loads) for loads in (0, 1, 2, 3, 4, 8, 9, 1000)]
    assert delays == [0.0, 0.0, 0.5, 1.0, 2.0, 32.0, 60.0, 60.0]

"""When a device counts as hung."""

from __future__ import annotations

from worker.lease import is_stalled


def test_a_device_is_hung_when_no_step_came_for_too_long():
    assert not is_stalled(100.0, 220.0, stall_seconds=120)
    assert is_stalled(100.0, 220.1, stall_seconds=120)

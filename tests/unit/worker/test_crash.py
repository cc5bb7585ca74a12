"""Which ends of a child are crashes."""

from __future__ import annotations

import signal

import pytest

from worker.crash import crash_of


@pytest.mark.parametrize(
    ("exit_code", "crash"),
    [
        (None, None), (0, None), (1, None), (0x9B, None), (-999, None),
        (-signal.SIGKILL, None), (-signal.SIGTERM, None),
        (-signal.SIGSEGV, "SIGSEGV"), (-signal.SIGABRT, "SIGABRT"), (-signal.SIGBUS, "SIGBUS"),
    ],
)  # fmt: skip
def test_a_crash_is_what_nobody_sent(exit_code: int | None, crash: str | None):
    assert crash_of(exit_code) == crash

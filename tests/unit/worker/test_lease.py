"""When a device counts as hung, and what the lease's thread does then and over an unknown error."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from shared.options import StyleOptions
from shared.protocol import InputPicture, JobMessage
from shared.redis.claims import Verdict
from worker import lease as module
from worker.lease import LeaseKeeper, is_stalled

PICTURE = InputPicture(key="assets/aa/aa", sha256="aa")
MESSAGE = JobMessage(job_id="j", attempt=1, content=PICTURE, style=PICTURE, options=StyleOptions())


def test_a_device_is_hung_when_no_step_came_for_too_long():
    assert not is_stalled(100.0, 220.0, stall_seconds=120)
    assert is_stalled(100.0, 220.1, stall_seconds=120)


def keeper(**changes: Any) -> LeaseKeeper:
    claims: Any = SimpleNamespace(renew=lambda *_, **__: Verdict.OK, release=lambda *_, **__: None)
    given = {"renew_seconds": 0.01, "stall_seconds": 3600, "on_renewed": lambda _: None, **changes}
    return LeaseKeeper(claims, MESSAGE, token="t", **given)


def test_an_error_that_nobody_knows_does_not_end_the_renewals():
    renewed = threading.Semaphore(0)

    def fail(_: Verdict) -> None:
        renewed.release()
        raise ValueError("a bug")

    with keeper(on_renewed=fail):
        for _ in range(3):
            assert renewed.acquire(timeout=20)


def test_a_device_that_does_not_come_back_is_told_and_one_that_is_left_is_not(monkeypatch):
    monkeypatch.setattr(module, "_STORAGE_SECONDS", 0.01)
    hung = threading.Event()
    with keeper(stall_seconds=0.01, on_hung=hung.set):
        assert hung.wait(20)
    left, asked = keeper(stall_seconds=0.01, on_hung=hung.clear), threading.Semaphore(0)
    left.leave_device()
    monkeypatch.setattr(left, "_is_hung", lambda ask=left._is_hung: asked.release() or ask())
    with left:
        for _ in range(3):
            assert asked.acquire(timeout=20)
    assert hung.is_set()

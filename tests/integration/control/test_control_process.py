"""The control process itself: it outlives whatever it meets, and web knows within seconds when it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from shared.broker import DEFAULT_ROUTE
from shared.redis.control import control_fault
from shared.settings import Settings
from tests.support.bench import read
from tests.support.waiting import wait_until
from web.control.process import Control
from web.db.models import Job
from worker.context import WorkerContext

pytestmark = pytest.mark.process
PATIENCE_SECONDS = 60


@pytest.fixture
def start(settings: Settings, control: Control) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a control process beside the test's own, which makes no rounds."""
    started: list[subprocess.Popen[bytes]] = []

    def do() -> subprocess.Popen[bytes]:
        environ = {"PATH": "", "HOME": str(settings.data_dir), **settings.to_environ()}
        environ["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
        command = [sys.executable, "-m", "web.cli.main", "control"]
        started.append(subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL))
        wait_until(lambda: fault(control) is None, seconds=PATIENCE_SECONDS, what="control to beat")
        return started[-1]

    yield do
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def fault(control: Control) -> str | None:
    return control_fault(control.backend.redis.control.read())


def test_long_pauses_are_no_faults(settings: Settings, control: Control, context: WorkerContext, job: Job):
    """Redis' client would take an answer that lets it wait so long for none."""
    slow = Control(
        settings.model_copy(update={"dispatch_seconds": 3600.0, "retention_days": 1e7}), clock=control.clock
    )
    try:
        assert slow.round()
        assert slow.faults == {}
        slow.pruner.step()
    finally:
        slow.close()
    assert read(control, job).dispatched_at is not None


def test_it_outlives_junk_refusals_and_a_storage_that_is_gone(
    start: Callable[[], subprocess.Popen[bytes]], control: Control, context: WorkerContext, job: Job
):
    redis, names = control.backend.redis.client, control.backend.redis.names
    redis.xadd(names.key("events"), {"no": "event"})
    redis.rpush(names.queue(DEFAULT_ROUTE), "no message")
    process = start()
    wait_until(lambda: read(control, job).dispatched_at, seconds=PATIENCE_SECONDS, what="the job to be sent")
    wait_until(
        lambda: control.backend.redis.set_aside.count() == 2, seconds=PATIENCE_SECONDS, what="junk to go"
    )
    for refused, mended in (
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("ACL SETUSER default -xreadgroup -lpush -evalsha", "ACL SETUSER default +@all"),
    ):
        redis.execute_command(*refused.split())
        if "ACL" in refused:  # it can still beat, and says what is wrong
            wait_until(lambda: fault(control), seconds=PATIENCE_SECONDS, what="control to say that it fails")
        redis.execute_command(*mended.split())
        wait_until(lambda: fault(control) is None, seconds=PATIENCE_SECONDS, what="control to be well")
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_one_that_is_gone_or_suspended_is_known_as_down(
    start: Callable[[], subprocess.Popen[bytes]], control: Control, number: signal.Signals
):
    process = start()
    process.send_signal(number)
    said = wait_until(lambda: fault(control), seconds=PATIENCE_SECONDS, what="its beat to be missed")
    assert "control is not running" in said
    if number == signal.SIGTERM:
        assert process.wait(PATIENCE_SECONDS) == 0
    if number == signal.SIGSTOP:
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: fault(control) is None, seconds=PATIENCE_SECONDS, what="control to be back")

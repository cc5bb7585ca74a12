"""Two nodes on one GPU from one command: each has its name, is drained alone, and is started again alone.

The GPU is made up, so each says that TensorFlow does not see it; what they compute is not looked at here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.processes import is_gone
from shared.redis import Coordination
from shared.redis.names import Names
from shared.redis.workers import WorkerBeat
from shared.settings import Settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

#: TensorFlow has to be loaded, three times.
_PATIENCE_SECONDS = 240
#: A number that no machine of ours has.
_DRIVER = """#!/bin/sh
case "$*" in
    -L) echo 'GPU 7: NVIDIA H200 (UUID: GPU-52988146)' ;;
    *memory*) echo '40960, 1024' ;;
esac
"""
#: What is installed here may be TensorFlow for the CPU, of which the nodes know as well.
_RUN = """
import sys
import worker.devices, worker.cli.run
worker.devices.has_cuda = lambda: True
worker.cli.run.own_python = lambda program, *words: [sys.executable, "-c", sys.argv[1], sys.argv[1], *words]
from worker.cli.main import main
main(sys.argv[2:])
"""


@pytest.fixture
def fleet(settings: Settings, names: Names, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(_DRIVER)
    tool.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"} | {
        **settings.to_environ(),
        "ATELIER_VGG19_WEIGHTS": "untrained",
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
    }
    words = ["run", "--name", "studio", "--nodes-per-gpu", "2", "--methods", "gatys"]
    command = [sys.executable, "-c", _RUN, _RUN, *words]
    with subprocess.Popen(command, env=environ, start_new_session=True) as fleet:
        try:
            yield fleet
        finally:
            # Its nodes end by themselves once it is gone.
            if fleet.poll() is None:
                fleet.kill()


def test_two_nodes_on_one_gpu(fleet, shown: Coordination):
    def told() -> dict[str, WorkerBeat]:
        return {beat.worker_id: beat for beat in shown.workers.alive() if beat.reason}

    first, second = "studio-gpu7-1", "studio-gpu7-2"

    def wait(condition, what: str):
        return wait_until(condition, seconds=_PATIENCE_SECONDS, what=what)

    both = wait(lambda: (now := told()) and set(now) == {first, second} and now, "both nodes are there")
    assert {beat.device for beat in both.values()} == {"cuda:7 (NVIDIA H200)"}
    processes = {name: int(beat.process.split()[2]) for name, beat in both.items()}
    # All but what the other one's process takes.
    wait(lambda: told()[first].job_memory_bytes == (40960 - 1640) * 2**20, "the memory is told")

    os.killpg(processes[second], signal.SIGKILL)
    wait(
        lambda: (now := told().get(second)) and now.run != both[second].run,
        "the one that was killed is started again",
    )
    assert told()[first].run == both[first].run

    shown.workers.drain(first)
    wait(lambda: is_gone(both[first].process), "the first has ended")
    assert first not in {beat.worker_id for beat in shown.workers.alive()}
    assert fleet.poll() is None
    assert second in told()
    fleet.terminate()
    assert fleet.wait(_PATIENCE_SECONDS) == 0

"""A real node whose driver lists a GPU that TensorFlow does not see: it says so, and takes no jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.processes import own_python
from shared.redis import Coordination
from shared.redis.names import Names
from shared.redis.workers import WorkerBeat
from shared.settings import Settings
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

#: TensorFlow has to be loaded.
_PATIENCE_SECONDS = 120
#: A number that no machine of ours has; what is installed here may be TensorFlow for the CPU.
_DRIVER = "#!/bin/sh\n[ $1 = -L ] && echo 'GPU 7: NVIDIA H200 (UUID: GPU-52988146)'\n"
_RUN = """
import worker.devices
worker.devices.has_cuda = lambda: True
from worker.cli.main import main
main(["run", "--name", "node"])
"""


def test_a_node_whose_gpu_is_not_seen_says_so_and_takes_no_jobs(
    settings: Settings, names: Names, shown: Coordination, tmp_path: Path
):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(_DRIVER)
    tool.chmod(0o755)
    environ = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"} | {
        **settings.to_environ(),
        "ATELIER_VGG19_WEIGHTS": "untrained",
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
    }

    def unhealthy() -> WorkerBeat | None:
        return next((beat for beat in shown.workers.alive() if beat.state == "unhealthy"), None)

    with subprocess.Popen([sys.executable, "-c", _RUN], env=environ, start_new_session=True) as node:
        try:
            told = wait_until(unhealthy, seconds=_PATIENCE_SECONDS, what="the node is unhealthy")
            assert told.device == "cuda:7 (NVIDIA H200)"
            assert "GpuNotSeen: the NVIDIA driver lists cuda:7 (NVIDIA H200), but TensorFlow" in told.reason
            assert not told.takes_jobs
        finally:
            node.send_signal(signal.SIGTERM)
        assert node.wait(_PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("gpus", ["all", "0"])
def test_a_driver_that_does_not_work_yet_is_a_failure_after_which_to_start_again(
    settings: Settings, tmp_path: Path, gpus: str
):
    """As when a machine has just been started; after a wrong setting nobody would try again."""
    recorded = Path(__file__).parents[2] / "unit/worker/nvidia_smi/no-driver.txt"
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat {recorded}\nexit 9\n")
    tool.chmod(0o755)
    done = subprocess.run(
        own_python("atelier-worker", "run", "--gpus", gpus, "--methods", "gatys"),
        env={**os.environ, **settings.to_environ(), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        f"gpu_not_seen: --gpus is '{gpus}', but the NVIDIA driver does not work (exit code 9:" in done.stderr
    )

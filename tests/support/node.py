"""A worker's node in a process of its own, with a steady engine whose steps take their time.

settings: of the service; name, step_seconds; breaks: whether its device fails at every second step.
"""

from __future__ import annotations

import json
import subprocess
import sys
from threading import Event

from shared.logs import configure_logs
from shared.settings import Settings
from tests.support.engines import SteadyEngine
from tests.support.installation import names_of
from worker.devices import CPU
from worker.node import Node


def start_node(
    settings: Settings,
    name: str,
    *,
    step_seconds: float = 0.02,
    fleet_pid: int | None = None,
    breaks: bool = False,
) -> subprocess.Popen[str]:
    """Start a node; what it logs goes to its standard output."""
    task = {
        "settings": settings.to_environ(), "name": name, "step_seconds": step_seconds, "breaks": breaks
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.node", json.dumps({**task, "fleet_pid": fleet_pid})],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def main() -> None:
    from shared.settings import load_settings

    task = json.loads(sys.argv[1])
    settings = load_settings(task["settings"])
    configure_logs(settings)
    pause = Event()

    def take_time(step: int) -> None:
        pause.wait(task["step_seconds"])
        if step == 2 and task["breaks"]:
            raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED")

    node = Node(
        settings,
        names_of(settings),
        name=task["name"],
        device=CPU,
        weights="untrained",
        load_engine=lambda: SteadyEngine(take_time),
        fleet_pid=task["fleet_pid"],
    )
    sys.exit(node.run())


if __name__ == "__main__":
    main()

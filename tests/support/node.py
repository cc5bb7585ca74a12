"""A worker's node in a process of its own, with a steady engine whose steps take their time.

settings: of the service; name, step_seconds, fleet_pid; breaks: whether its device fails at every second
step, or hangs there once, and leaves the file `hung`.
Of the load of its engine: load_seconds, how long it takes; load_gate, a file that it waits for once
it has made another with ".reached" behind that name;
load_fails_until, a file without which it fails; load_leaves, how many temporary files it leaves. no_forks:
the process cannot fork. methods: those that it serves, `gatys` alone unless told otherwise. numerics: what it
says of how it computes.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event

from shared.logs import configure_logs
from shared.options import Method
from shared.settings import Settings
from tests.support.engines import SteadyEngine
from tests.support.installation import names_of
from worker.devices import CPU
from worker.fleet import end_without_fleet
from worker.node import Node


def start_node(
    settings: Settings,
    name: str,
    *,
    step_seconds: float = 0.02,
    fleet_pid: int | None = None,
    breaks: str = "",
    **more: object,
) -> subprocess.Popen[str]:
    """Start a node; what it logs goes to its standard output."""
    task = {
        "settings": settings.to_environ(), "name": name, "step_seconds": step_seconds, "breaks": breaks
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.node", json.dumps({**task, "fleet_pid": fleet_pid, **more})],
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
        if step == 2 and task["breaks"] == "raise":
            raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED")
        if step == 2 and task["breaks"] == "crash":
            os.abort()
        if step == 2 and task["breaks"] == "hang" and not Path(task["hung"]).exists():
            Path(task["hung"]).touch()
            pause.wait()

    def load() -> SteadyEngine:
        for _ in range(task.get("load_leaves", 0)):
            tempfile.mkstemp()
        pause.wait(task.get("load_seconds", 0))
        if "load_gate" in task:
            Path(task["load_gate"] + ".reached").touch()
        while not Path(task.get("load_gate", "/")).exists():
            pause.wait(0.05)
        if not Path(task.get("load_fails_until", "/")).exists():
            raise RuntimeError("no device")
        return SteadyEngine(take_time)

    if task.get("no_forks"):
        os.fork = _refuse
    node = Node(
        settings,
        names_of(settings),
        name=task["name"],
        device=CPU,
        weights="untrained",
        methods=task.get("methods", [Method.GATYS]),
        load_engine=load,
        numerics=task.get("numerics", {}),
        is_in_fleet=task["fleet_pid"] is not None,
    )
    if task["fleet_pid"] is not None:
        end_without_fleet(task["fleet_pid"])
    sys.exit(node.run())


def _refuse() -> int:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


if __name__ == "__main__":
    main()

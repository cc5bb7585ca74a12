"""The fleet: one node for each GPU of this machine, each a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from shared.logs import get_logger
from worker.devices import Device

_log = get_logger(__name__)


def run_fleet(name: str, devices: Sequence[Device]) -> int:
    """Start one node a device, pass SIGTERM and SIGINT on, wait for all; return the worst exit code.

    A node that ends by itself takes the others down with it, so that whoever supervises this process sees it.
    """
    nodes = {
        device.label: subprocess.Popen(  # noqa: S603 - this very program
            [sys.argv[0], "run", "--name", f"{name}-gpu{device.number}", "--gpus", str(device.number)],
            start_new_session=True,
        )
        for device in devices
    }

    def stop(number: int, _frame: FrameType | None) -> None:
        _log.info("fleet_stopping", signal=signal.Signals(number).name)
        for node in nodes.values():
            if node.poll() is None:
                node.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    codes = []
    for label, node in nodes.items():
        codes.append(node.wait())
        _log.info("node_ended", device=label, exit_code=codes[-1])
        for other in nodes.values():
            if other.poll() is None:
                other.terminate()
    return max(abs(code) for code in codes)

"""Memory: how much a node's device has and how much of it is in use, measured without TensorFlow."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from worker.devices import Device

_MEASURE_SECONDS = 5.0
_MEBIBYTE = 1024 * 1024
_MEMINFO = Path("/proc/meminfo")
_FIELD = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Memory:
    """A device's memory in bytes; None where it cannot be measured."""

    total_bytes: int | None = None
    used_bytes: int | None = None


def parse_meminfo(text: str) -> Memory:
    """Return the machine's memory from Linux's ``/proc/meminfo``; what programs can still get is not used."""
    fields = {name: int(kibibytes) * 1024 for name, kibibytes in _FIELD.findall(text)}
    total, available = fields.get("MemTotal"), fields.get("MemAvailable")
    used = total - available if total is not None and available is not None else None
    return Memory(total, used)


def parse_gpu_memory(line: str) -> Memory:
    """Return a GPU's memory from ``81559, 1024``: total and used, in MiB, as the driver's tool says it."""
    numbers = [part.strip() for part in line.strip().split(",")]
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        return Memory()  # such as [N/A], on devices that share the machine's memory
    return Memory(*(int(number) * _MEBIBYTE for number in numbers))


class MemoryMeter:
    """Measures the memory of one device every 5 s, and never waits for an answer."""

    def __init__(self, device: Device, *, clock: Callable[[], float] = monotonic) -> None:
        self._device = device
        self._clock = clock
        self._last = Memory()
        self._asked_at = float("-inf")
        self._query: subprocess.Popen[str] | None = None

    def read(self) -> Memory:
        """Return what was measured last; for a GPU the first answer comes a moment after the first call."""
        due = self._clock() - self._asked_at >= _MEASURE_SECONDS
        if due and self._query is None:
            self._asked_at = self._clock()
            if self._device.number is None:
                self._last = parse_meminfo(_MEMINFO.read_text()) if _MEMINFO.exists() else Memory()
            else:
                self._query = _ask_driver(self._device.number)
        if self._query is not None and self._query.poll() is not None:
            answer, _ = self._query.communicate()
            self._last = parse_gpu_memory(answer) if self._query.returncode == 0 else Memory()
            self._query = None
        return self._last


def _ask_driver(number: int) -> subprocess.Popen[str] | None:
    """Start the driver's tool, which can take seconds: the parent of a pool must not wait for it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    words = [
        program,
        f"--id={number}",
        "--query-gpu=memory.total,memory.used",
        "--format=csv,noheader,nounits",
    ]
    return subprocess.Popen(  # noqa: S603 - the driver's own tool, found on PATH
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )

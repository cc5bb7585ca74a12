"""Devices of this machine and their memory.

Asked for without TensorFlow, which must not be loaded before a fork.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic

from shared.errors import InvalidSettings, ServiceError
from shared.storage.store import Room

_DRIVER_TOOL = "nvidia-smi"
_GPU_LINE = re.compile(r"^GPU (\d+): (.+?)(?: \(UUID: .*\))?$")
_QUERY_SECONDS = 20
_MEASURE_SECONDS = 5.0
_MEBIBYTE = 1024 * 1024
_MEMINFO = Path("/proc/meminfo")
_MEMINFO_FIELD = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Device:
    """One device: the number that CUDA knows it by, or nothing for the CPU, and its name."""

    number: int | None
    name: str

    @property
    def label(self) -> str:
        """How jobs and logs name it: ``cpu``, or ``cuda:0 (NVIDIA H100)``."""
        return self.name if self.number is None else f"cuda:{self.number} ({self.name})"

    @property
    def visible(self) -> str:
        """What CUDA_VISIBLE_DEVICES must be for a process that is to use this device alone."""
        return "" if self.number is None else str(self.number)


CPU = Device(None, "cpu")


def find_gpus() -> list[Device]:
    """Return the GPUs that the NVIDIA driver's tool lists; none where the tool is not installed."""
    program = shutil.which(_DRIVER_TOOL)
    if program is None:
        return []
    answer = subprocess.run(  # noqa: S603 - the driver's own tool, found on PATH
        [program, "-L"], capture_output=True, text=True, timeout=_QUERY_SECONDS, check=False
    )
    return parse_gpus(answer.stdout) if answer.returncode == 0 else []


def parse_gpus(listing: str) -> list[Device]:
    """Return the GPUs in the lines of ``nvidia-smi -L``."""
    matches = (_GPU_LINE.match(line.strip()) for line in listing.splitlines())
    return [Device(int(match[1]), match[2]) for match in matches if match]


def choose_devices(wanted: str, gpus: list[Device]) -> list[Device]:
    """Return the devices for ``auto`` (all GPUs, else the CPU), ``all``, ``none``, or numbers like ``0,2``.

    Raises:
        InvalidSettings: when a GPU is wanted that is not there.
    """
    if wanted == "none" or (wanted == "auto" and not gpus):
        return [CPU]
    if wanted in ("auto", "all"):
        if not gpus:
            raise InvalidSettings("--gpus is 'all', but nvidia-smi lists no GPU here")
        return gpus
    known = {str(gpu.number): gpu for gpu in gpus}
    numbers = [number.strip() for number in wanted.split(",")]
    missing = [number for number in numbers if number not in known]
    if missing:
        raise InvalidSettings(
            f"--gpus is {wanted!r}; this machine has no GPU {', '.join(missing)} "
            f"(found: {', '.join(known) or 'none'})"
        )
    return [known[number] for number in numbers]


@dataclass(frozen=True)
class Memory:
    """A device's memory in bytes; None where it cannot be measured."""

    total_bytes: int | None = None
    used_bytes: int | None = None


def parse_meminfo(text: str) -> Memory:
    """Return the machine's memory from Linux's ``/proc/meminfo``; what programs can still get is not used."""
    fields = {name: int(kibibytes) * 1024 for name, kibibytes in _MEMINFO_FIELD.findall(text)}
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


class RoomMeter:
    """Measures the room of the storage every 5 s, and never waits: a file system that is gone can hang.

    What is measured is None while nothing is known, as on a mount that does not answer.
    """

    def __init__(self, measure: Callable[[], Room], *, clock: Callable[[], float] = monotonic) -> None:
        self._measure = measure
        self._clock = clock
        self._last: Room | None = None
        self._asked_at = float("-inf")
        self._thread: Thread | None = None

    def read(self) -> Room | None:
        """Return what was measured last; the first answer comes a moment after the first call."""
        if self._thread is not None and self._thread.is_alive():
            if self._clock() - self._asked_at >= 2 * _MEASURE_SECONDS:
                self._last = None
        elif self._clock() - self._asked_at >= _MEASURE_SECONDS:
            self._asked_at = self._clock()
            self._thread = Thread(target=self._ask, name="room", daemon=True)
            self._thread.start()
        return self._last

    def _ask(self) -> None:
        try:
            self._last = self._measure()
        except ServiceError:
            self._last = None


def _ask_driver(number: int) -> subprocess.Popen[str] | None:
    """Start the driver's tool, which can take seconds: the parent of a pool must not wait for it."""
    program = shutil.which(_DRIVER_TOOL)
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

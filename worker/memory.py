"""The memory of a node's device: what it has, what is used of it, and the most that a job could get."""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from xml.etree import ElementTree

from shared.memory import COSTS, DeviceKind, Network
from worker.devices import DRIVER_TOOL, Device
from worker.engine.machine import MachineMemory, children_bytes, machine_memory

_QUERY_SECONDS = 20
_MEASURE_SECONDS = 5.0
_MEBIBYTE = 1024 * 1024
#: For so long the most that was ever free stands: what another node's job takes now is free again later.
_HIGHEST_FOR_SECONDS = 3600.0


@dataclass(frozen=True)
class Memory:
    """A device's memory in bytes; None where it cannot be measured."""

    total_bytes: int | None = None
    used_bytes: int | None = None
    #: The most that the node's process, with a job in it, could take of it.
    job_bytes: int | None = None


def of_machine(machine: MachineMemory, *, own_bytes: int = 0) -> Memory:
    """Return the memory of a node on the CPU; `own_bytes` of what is used are those of its own process."""
    total, left = machine.total_bytes, machine.available_bytes
    used = total - left if total is not None and left is not None else None
    return Memory(total, used, None if left is None else left + own_bytes)


def of_gpu(memory: Memory, *, nodes: int) -> Memory:
    """Return the memory of a GPU that so many nodes share, for one of them: all but the others' processes.

    What their jobs take is free again later, and what other programs take is not told apart from it.
    """
    if memory.total_bytes is None:
        return memory
    process = max(COSTS[DeviceKind.GPU, network].process for network in Network)
    return replace(memory, job_bytes=max(0, memory.total_bytes - (nodes - 1) * process))


def parse_gpu_memory(line: str) -> Memory:
    """Return a GPU's memory from ``81559, 1024``: total and used, in MiB, as the driver's tool says it."""
    numbers = [part.strip() for part in line.strip().split(",")]
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        return Memory()  # such as [N/A], on devices that share the machine's memory
    return Memory(*(int(number) * _MEBIBYTE for number in numbers))


def parse_instance_memory(document: str, instance: int) -> Memory:
    """Return the memory of an instance of a divided GPU from what ``nvidia-smi -q -x`` says of that GPU.

    Of the GPU itself the tool tells nothing then, or what all instances have together.
    """
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - the driver's own tool wrote it
    except ElementTree.ParseError:
        return Memory()
    for found in root.iter("mig_device"):
        if (found.findtext("index") or "").strip() == str(instance):
            told = (found.findtext(f"fb_memory_usage/{name}") or "" for name in ("total", "used"))
            return parse_gpu_memory(",".join(amount.removesuffix("MiB") for amount in told))
    return Memory()


def read_memory(device: Device) -> Memory:
    """Return a device's memory as it is now; for a GPU that may take seconds."""
    if device.number is None:
        return of_machine(machine_memory())
    query = _ask_driver(device)
    if query is None:
        return Memory()
    try:
        answer, _ = query.communicate(timeout=_QUERY_SECONDS)
    except subprocess.TimeoutExpired:
        query.kill()
        query.communicate()
        return Memory()
    return of_gpu(_told(answer, device), nodes=device.nodes) if query.returncode == 0 else Memory()


def _told(answer: str, device: Device) -> Memory:
    if device.instance is None:
        return parse_gpu_memory(answer)
    return parse_instance_memory(answer, device.instance)


class MemoryMeter:
    """Measures the memory of one device every 5 s, and never waits for an answer.

    To be read in the parent of the process that has the jobs.
    """

    def __init__(self, device: Device, *, clock: Callable[[], float] = monotonic) -> None:
        self._device = device
        self._clock = clock
        self._last = Memory()
        self._asked_at = float("-inf")
        self._query: subprocess.Popen[str] | None = None
        self._highest = Highest(_HIGHEST_FOR_SECONDS)

    def read(self) -> Memory:
        """Return what was measured last; for a GPU the first answer comes a moment after the first call.

        What a job could get is the most of the last hour.
        """
        due = self._clock() - self._asked_at >= _MEASURE_SECONDS
        if due and self._query is None:
            self._asked_at = self._clock()
            if self._device.number is None:
                self._note(of_machine(machine_memory(), own_bytes=children_bytes()))
            else:
                self._query = _ask_driver(self._device)
        if self._query is not None and self._query.poll() is not None:
            answer, _ = self._query.communicate()
            told = _told(answer, self._device) if self._query.returncode == 0 else Memory()
            self._note(of_gpu(told, nodes=self._device.nodes))
            self._query = None
        return self._last

    def _note(self, memory: Memory) -> None:
        if memory.job_bytes is not None:
            highest = self._highest.add(memory.job_bytes, now=self._clock())
            memory = replace(memory, job_bytes=highest)
        self._last = memory


class Highest:
    """The highest of the values that were added within the last so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: Falling values with their moments: one that a later and higher one covers can never be the highest.
        self._kept: deque[tuple[float, int]] = deque()

    def add(self, value: int, *, now: float) -> int:
        """Add a value, and return the highest now."""
        while self._kept and self._kept[-1][1] <= value:
            self._kept.pop()
        self._kept.append((now, value))
        while self._kept[0][0] <= now - self._seconds:
            self._kept.popleft()
        return self._kept[0][1]


def _ask_driver(device: Device) -> subprocess.Popen[str] | None:
    """Start the driver's tool, which can take seconds: the parent of a pool must not wait for it."""
    program = shutil.which(DRIVER_TOOL)
    if program is None:
        return None
    asked = ["--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits"]
    words = [program, f"--id={device.number}", *(asked if device.instance is None else ["-q", "-x"])]
    return subprocess.Popen(  # noqa: S603 - the driver's own tool, found on PATH
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )

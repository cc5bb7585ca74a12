"""What this machine, or the container, has for its programs: memory and processors."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_FIELD = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)
_RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
#: Of each version of control groups: the controller in ``/proc/self/cgroup``, its folder, the files with the
#: limit and the use of memory, and what of the use is cache.
_MEMORY_FILES = (
    ("", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "memory",
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
#: As well, and the files that hold how many microseconds of processor time are given in how many.
_QUOTA_FILES = (
    ("", "sys/fs/cgroup", ("cpu.max",)),
    ("cpu", "sys/fs/cgroup/cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")),
)


@dataclass(frozen=True)
class MachineMemory:
    """The memory that programs here may have in all, and what can still be had; None where nobody knows."""

    total_bytes: int | None = None
    available_bytes: int | None = None


def machine_memory(root: Path = Path("/")) -> MachineMemory:
    """Return the machine's memory, or that of a container where it is less.

    Args:
        root: Folder with ``proc`` and ``sys``; nothing is known on systems other than Linux.
    """
    fields: dict[str, int] = {}
    with suppress(OSError):
        fields = {name: int(kib) * 1024 for name, kib in _FIELD.findall((root / "proc/meminfo").read_text())}
    limits = list(_memory_limits(root))
    totals = [limit for limit, _ in limits]
    left = [free for _, free in limits]
    if "MemTotal" in fields:
        totals.append(fields["MemTotal"])
    if "MemAvailable" in fields:
        left.append(fields["MemAvailable"])
    return MachineMemory(min(totals, default=None), max(0, min(left)) if left else None)


def available_bytes() -> int | None:
    """Return the memory in bytes that can still be had; None where that is not known."""
    return machine_memory().available_bytes


def own_bytes(root: Path = Path("/")) -> int:
    """Return the memory that this process takes, in bytes; 0 where that is not told."""
    return _resident(root / "proc/self/status")


def children_bytes(root: Path = Path("/")) -> int:
    """Return the memory that the children of this process take, in bytes; 0 where that is not told.

    What a child shares with this process since the fork counts as the child's.
    """
    taken = 0
    for children in root.glob("proc/self/task/*/children"):
        with suppress(OSError):
            taken += sum(_resident(root / "proc" / pid / "status") for pid in children.read_text().split())
    return taken


def _resident(status: Path) -> int:
    with suppress(OSError):
        match = _RESIDENT.search(status.read_text())
        return int(match[1]) * 1024 if match else 0
    return 0


def usable_processors(root: Path = Path("/")) -> int:
    """Return how many processors this process may keep busy, 1 at least.

    A container is given a share of the processor time, and sees all processors all the same: with a thread
    for each of them its time would be over early in each period, and all would stand still for the rest.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([there, *(math.ceil(share) for share in _processor_shares(root))]))


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and rest of each control group that this process is in, in bytes."""
    for controller, top, limit, used, cache in _MEMORY_FILES:
        for folder in _groups(root, controller, top):
            with suppress(OSError, ValueError):
                most = int((folder / limit).read_text())  # 'max' is no number
                taken = int((folder / used).read_text())
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield most, most - taken + int(statistics.get(cache, 0))


def _processor_shares(root: Path) -> Iterator[float]:
    """Yield how many processors each control group that this process is in gives it the time of."""
    for controller, top, files in _QUOTA_FILES:
        for folder in _groups(root, controller, top):
            with suppress(OSError, ValueError):
                quota, period = map(int, " ".join((folder / name).read_text() for name in files).split())
                if quota > 0 and period > 0:  # -1 is no limit
                    yield quota / period


def _groups(root: Path, controller: str, top: str) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, from its own up to the top."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controller in controllers.split(","):
            # In a container the path may be that of the host, where nothing lies: its own is the top then.
            own = PurePosixPath(name.lstrip("/"))
            yield from (root / top / group for group in (own, *own.parents))


def return_freed_memory() -> None:
    """Give freed memory back to the system, where the C library keeps it: a large picture's would stay."""
    _trimmer()(0)


@functools.cache
def _trimmer() -> Callable[[int], object]:
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
            return trim
    return lambda _: None

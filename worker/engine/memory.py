"""What memory this machine has and may still give, and giving back what this process no longer needs."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_FIELD = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)
_RESIDENT = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)
#: Of each version of control groups: its folder, the files with limit and use, and what of the use is cache.
_GROUP_FILES = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
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
    groups = list(_groups(root))
    totals = [limit for limit, _ in groups]
    left = [free for _, free in groups]
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


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and rest of each control group that this process is in, from its own up to the top."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    own: dict[str, PurePosixPath] = {}
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        for controller in controllers.split(","):
            own[controller] = PurePosixPath(name.lstrip("/"))
    for (top, limit, used, cache), controller in zip(_GROUP_FILES, ("", "memory"), strict=True):
        path = own.get(controller)
        if path is None:
            continue
        # In a container the path may be that of the host, and nothing lies there: its own is the top then.
        for group in (path, *path.parents):
            with suppress(OSError, ValueError):
                folder = root / top / group
                most = int((folder / limit).read_text())  # 'max' is no number
                taken = int((folder / used).read_text())
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield most, most - taken + int(statistics.get(cache, 0))


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

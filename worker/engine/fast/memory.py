"""What memory this process may still take, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
#: Of each version of control groups: its folder, the files with limit and use, and what of the use is cache.
_GROUP_FILES = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that can still be had: the machine's, or that of a container if it is less.

    Args:
        root: Folder with ``proc`` and ``sys``.

    Returns:
        Bytes; None where nothing is known, as on systems other than Linux.
    """
    found = [*_machine(root), *_groups(root)]
    return max(0, min(found)) if found else None


def _machine(root: Path) -> Iterator[int]:
    with suppress(OSError):
        match = _AVAILABLE.search((root / "proc/meminfo").read_text())
        if match:
            yield int(match[1]) * 1024


def _groups(root: Path) -> Iterator[int]:
    """Yield what each control group that this process is in leaves to it, from its own up to the top."""
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
                yield most - taken + int(statistics.get(cache, 0))


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

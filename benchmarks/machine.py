"""What a table of figures says of the machine that made them."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far; raise `OSError` when it has ended. For Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that live; raise `OSError` when it has ended."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(word) for task in tasks for word in task.joinpath("children").read_text().split()]


def machine_line() -> str:
    """Return processor, its number, what else ran (load of a minute), and the day, in a few words."""
    text = ""
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{os.cpu_count()} processors ({name}), load {os.getloadavg()[0]:.1f} at its end, {date.today()}"

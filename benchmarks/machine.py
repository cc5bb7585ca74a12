"""What a table of figures says of the machine that made them."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from pathlib import Path


def machine_line() -> str:
    """Return processor, its number, what else ran (load of a minute), and the day, in a few words."""
    text = ""
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{os.cpu_count()} processors ({name}), load {os.getloadavg()[0]:.1f} at its end, {date.today()}"

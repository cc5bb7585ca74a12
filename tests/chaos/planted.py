# ruff: noqa: T201 - a command line
"""Every planted bug, one run each: ``python -m tests.chaos.planted``; exit code 1 if one is not found."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.chaos.plants import PLANTS
from tests.chaos.process import ROOT


def find_plant(name: str) -> str:
    """Run with a bug planted; return nothing if the run failed and named the right breach, else why not."""
    words = [sys.executable, "-m", "tests.chaos", "planted", "--plant", name]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.findall(rf"^- .*(?:{PLANTS[name].breach}).*$", done.stdout, re.MULTILINE)
    if done.returncode == 1 and found:
        return ""
    return f"{name}: not found, exit code {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


def main() -> int:
    """Try all plants."""
    failures = 0
    for name in PLANTS:
        failure = find_plant(name)
        print(failure or f"{name}: found", flush=True)
        failures += bool(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

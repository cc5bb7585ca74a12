"""The process that stops the children of a killed supervisor; a separate script, standard library only.

It reads lines from standard input: ``+ PID STAGE GRACE`` for a process group to guard, ``- PID`` for one that
has ended. When the pipe closes, the supervisor has ended, in whatever way; then every remaining group is
stopped, the highest stage first: its leader gets SIGTERM, and the group SIGKILL after its grace in seconds.

Linux can send a signal when a parent dies (PR_SET_PDEATHSIG), but other systems cannot; it also depends on
the parent's thread instead of its process, and does not reach the children's own children.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

_LOOK_SECONDS = 0.05


def main() -> None:
    """Guard until standard input closes, then stop the remaining groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, tuple[int, float]] = {}
    for line in sys.stdin:
        sign, pid, *rest = line.split()
        if sign == "+":
            groups[int(pid)] = (int(rest[0]), float(rest[1]))
        else:
            groups.pop(int(pid), None)
    for stage in sorted({stage for stage, _ in groups.values()}, reverse=True):
        _end({pid: grace for pid, (its_stage, grace) in groups.items() if its_stage == stage})


def _end(graces: dict[int, float]) -> None:
    for pid in graces:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    started = time.monotonic()
    waiting = dict(graces)
    while waiting:
        waited = time.monotonic() - started
        for pid, grace in list(waiting.items()):
            if waited > grace or not _lives(pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
                del waiting[pid]
        time.sleep(_LOOK_SECONDS)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        # A process that is not reaped yet still accepts signals.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


if __name__ == "__main__":
    main()
